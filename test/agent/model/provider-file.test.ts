import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createCatalogue } from '../../../src/agent/model/catalogue.ts'
import { createModels } from '../../../src/agent/model/models.ts'
import { fetchWith, proxyAgents } from '../../../src/agent/model/patient-fetch.ts'
import { readProviderFile } from '../../../src/agent/model/provider-file.ts'
import { route } from '../../../src/agent/model/routing.ts'
import { REQUEST } from './adapters/support.ts'

async function read(content: unknown, env: Record<string, string> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-providers-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'providers.json')
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
  return readProviderFile(file, env)
}

type Asked = { readonly url: string; readonly headers: IncomingHttpHeaders }

/** An endpoint that refuses each request, and keeps what it was asked. */
async function gateway() {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    asked.push({ url: request.url ?? '', headers: request.headers })
    const { authorization, 'x-api-key': key, 'x-goog-api-key': other } = request.headers
    const text = `no ${authorization ?? key ?? other}`
    response.writeHead(403).end(JSON.stringify({ error: { message: text } }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

describe('the file of RETRAI_PROVIDERS', () => {
  test.each([
    ['{', /cannot be read: .*JSON/],
    [[], /is not valid:\n {2}it: must be \{"NAME"/],
    [{ 'a b': {} }, /a b: must have only letters, digits/],
    [
      { a: { api: 'soap', base_url: 'https://x/v1' } },
      /\n {2}a\.api: must be one of chat, responses,/,
    ],
    [{ a: { api: 'chat', base_url: 'ftp://x' } }, /a\.base_url: must be an http:/],
    [{ a: { api: 'chat', base_url: 'https://u:p@x' } }, /a\.base_url: .*put the key into key_env/],
    [{ a: { api: 'chat', base_url: 'https://x', key: 'k' } }, /a: .*"key"/],
    [
      { a: { api: 'chat', base_url: 'https://x', headers: { h: `\${NOT_SET}` } } },
      /a\.headers\.h: NOT_SET is not set/,
    ],
  ])('%j has a problem with a place', async (content, expected) => {
    expect((await read(content))._unsafeUnwrapErr()).toMatch(expected)
  })

  test('gives secrets that are masked: keys, values of variables, and headers that authorize', async () => {
    const headers = {
      Authorization: 'Bearer written-in-the-file',
      'x-team': `\${TEAM}`,
      'x-v': '2023-06-01',
    }
    const entry = { api: 'chat', base_url: 'https://x/v1', headers, key_env: 'MY_KEY' }
    const file = await read({ a: entry }, { MY_KEY: 'key-of-mine', TEAM: 'team-of-mine' })
    const { secrets, providers } = file._unsafeUnwrap()
    expect(secrets.map(({ value }) => value).toSorted()).toEqual([
      ...['key-of-mine', 'team-of-mine', 'written-in-the-file'],
    ])
    expect(providers.get('a')?.headers).toMatchObject({ 'x-team': 'team-of-mine' })
  })
})

describe('a model of a provider in that file', () => {
  test.each([
    ['chat', '/v1/chat/completions'],
    ['responses', '/v1/responses'],
    ['messages', '/v1/messages'],
    ['gemini', '/v1/models/big:streamGenerateContent?alt=sse'],
    ['ollama', '/v1/api/chat'],
  ])(
    'is called over %s, with its headers and its key, which no message shows',
    async (api, path) => {
      const { url, asked } = await gateway()
      const headers = { 'x-team-key': `\${TEAM}`, 'x-other': 'y' }
      const env = { MY_KEY: 'key-of-mine', TEAM: 'team-of-mine' }
      const entry = { api, base_url: `${url}/v1`, headers, key_env: 'MY_KEY' }
      const { providers } = (await read({ acme: entry }, env))._unsafeUnwrap()
      const models = createModels({ ownProviders: providers })
      const request = { ...REQUEST, modelName: 'acme/big' }
      const failed = (
        await models.complete(request, new AbortController().signal)
      )._unsafeUnwrapErr()
      expect(failed).toMatchObject({ type: 'refused' })
      expect(JSON.stringify(failed)).not.toContain('key-of-mine')
      const call = asked.find((one) => one.url === path)
      expect(call?.headers).toMatchObject({ 'x-team-key': 'team-of-mine', 'x-other': 'y' })
      expect(JSON.stringify(call?.headers)).toContain('key-of-mine')
    },
  )

  test('without a key sends none, unless a header has it', async () => {
    const { url, asked } = await gateway()
    for (const api of ['chat', 'responses', 'messages']) {
      const headers = { authorization: 'Basic abc' }
      const file = { a: { api, base_url: `${url}/v1` }, b: { api, base_url: `${url}/v1`, headers } }
      const models = createModels({ ownProviders: (await read(file))._unsafeUnwrap().providers })
      for (const modelName of ['a/x', 'b/x']) {
        const { signal } = new AbortController()
        expect((await models.complete({ ...REQUEST, modelName }, signal)).isErr()).toBe(true)
      }
    }
    const sent = asked.map(({ headers }) => [headers.authorization, headers['x-api-key']])
    const each = [
      [undefined, undefined],
      ['Basic abc', undefined],
    ]
    expect(sent).toEqual([...each, ...each, ...each])
  })

  const own = async (content: object, env: Record<string, string> = {}) => ({
    ownProviders: (await read(content, env))._unsafeUnwrap().providers,
  })

  test('wins over RETRAI_LLM_BASE_URL, and needs its key', async () => {
    const settings = await own({
      acme: { api: 'responses', base_url: 'https://gw/v1', key_env: 'K' },
    })
    const target = route('acme/openai/gpt-6-sol', { ...settings, llmBaseUrl: 'http://x/v1' })
    expect(target).toMatchObject({ model: 'openai/gpt-6-sol', api: 'responses' })
    expect(target.problem).toContain('needs K, which is not set')
    expect(route('other/x', { ...settings, llmBaseUrl: 'http://x/v1' }).endpoint.baseUrl).toBe(
      'http://x/v1',
    )
  })

  test('of a vendor replaces its address, for all of its names, and keeps its prices and rules', async () => {
    const settings = {
      ...(await own({
        openai: { api: 'responses', base_url: 'https://gw/openai/v1' },
        anthropic: { api: 'messages', base_url: 'https://gw/anthropic' },
        deepseek: { api: 'chat', base_url: 'https://gw/deepseek' },
      })),
      ...{ openaiApiKey: 'key-of-openai', openaiBaseUrl: 'http://elsewhere/v1' },
    }
    for (const name of ['gpt-5.2', 'openai/gpt-5.2']) {
      const { endpoint, api, model } = route(name, settings)
      expect(endpoint).toMatchObject({ baseUrl: 'https://gw/openai/v1', apiKey: 'key-of-openai' })
      expect({ api, model }).toEqual({ api: 'responses', model: 'gpt-5.2' })
    }
    expect(route('claude-opus-5', settings)).toMatchObject({ problem: null, api: 'messages' })
    const { list } = createCatalogue(settings)
    const models = new Map((await list()).map((info) => [info.name, info]))
    expect(models.get('openai/gpt-5.2')?.prices).not.toBeNull()
    expect(models.get('anthropic/claude-opus-5')).toMatchObject({
      problem: null,
      provider: 'anthropic',
    })
  })
})

describe('the proxies of the environment', () => {
  test('are used for other machines, by a tunnel, and not for this one', async () => {
    const tunnels: string[] = []
    const proxy = createServer((request, response) => {
      tunnels.push(`GET ${request.url}`)
      response.end('{}')
    })
    proxy.on('connect', (request, socket) => {
      tunnels.push(`CONNECT ${request.url} ${request.headers['proxy-authorization']}`)
      socket.end('HTTP/1.1 502 No\r\n\r\n')
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void proxy.close())
    const address = `u:pass-of-proxy@127.0.0.1:${(proxy.address() as AddressInfo).port}`
    const env = {
      HTTPS_PROXY: `http://${address}`,
      http_proxy: `http://${address}`,
      NO_PROXY: 'in.example',
    }
    const ask = fetchWith({ agentOf: proxyAgents(env) })
    const failed = await ask('https://api.example.test/v1').catch((cause: Error) => cause)
    expect(String(failed)).not.toContain('pass-of-proxy')
    await ask('http://models.example.test/v1')
    const { url, asked } = await gateway()
    await ask(url)
    expect(asked).toHaveLength(1)
    const basic = Buffer.from('u:pass-of-proxy').toString('base64')
    expect(tunnels).toEqual([
      `CONNECT api.example.test:443 Basic ${basic}`,
      'GET http://models.example.test/v1',
    ])
  })
})
