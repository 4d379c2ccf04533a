import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { guardSecrets } from '../../src/masking/process-mask.ts'
import { createCatalogue } from '../../src/models/catalogue.ts'
import { maxOutputTokens } from '../../src/models/known-models.ts'
import { createModels } from '../../src/models/models.ts'
import { readPriceFile, readProviderFile } from '../../src/models/operator-files.ts'
import { fetchWith, proxyAgents } from '../../src/models/patient-fetch.ts'
import { contextWindow, priceOf } from '../../src/models/prices.ts'
import { type ModelSettings, route } from '../../src/models/routing.ts'
import { portOf, serve } from '../support/serve.ts'
import { REQUEST } from './adapters/support.ts'

async function fileOf(content: unknown) {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-files-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'file.yml')
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
  return file
}
const readPrices = async (content: string) => readPriceFile(await fileOf(content))
const read = async (content: unknown, env: Record<string, string> = {}) =>
  readProviderFile(await fileOf(content), env)

const usage = { inputTokens: 1_000_000, outputTokens: 1_000_000 }
const usdOf = (...args: Parameters<typeof priceOf>) => priceOf(...args)?.usd ?? null

describe('the file of RETRAI_PRICES', () => {
  test('adds prices and windows, in YAML or JSON', async () => {
    const yaml = `
models:
  my-model:
    input_usd_per_mtok: 2
    output_usd_per_mtok: 8
    cached_input_usd_per_mtok: 0.5
    context_window: 200000
  dashscope/qwen3.8-max: { context_window: 262144, max_output_tokens: 32000 }
`
    const own = { ownModels: (await readPrices(yaml))._unsafeUnwrap() }
    const at = { RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
    const mine = route('my-model', { ...at, ...own })
    expect(priceOf(mine, usage)).toEqual({ usd: 10, source: 'file' })
    expect(usdOf(mine, { ...usage, cachedTokens: 1_000_000 })).toBe(8.5)
    expect(usdOf(mine, { ...usage, cacheWriteTokens: 1_000_000 })).toBe(10)
    expect(contextWindow(mine)).toBe(200_000)
    const qwen = route('dashscope/qwen3.8-max', own)
    expect(priceOf(qwen, usage)).toBeNull()
    expect(contextWindow(qwen)).toBe(262_144)
    expect(maxOutputTokens(qwen)).toBe(32_000)
    const json = '{"models":{"my-model":{"input_usd_per_mtok":1,"output_usd_per_mtok":1}}}'
    const ownModels = (await readPrices(json))._unsafeUnwrap()
    expect(usdOf(route('my-model', { ...at, ownModels }), usage)).toBe(2)
  })

  test('corrects a known model, under either of its names', async () => {
    const prices = '{ input_usd_per_mtok: 1, output_usd_per_mtok: 1 }'
    for (const name of ['claude-opus-5', 'anthropic/claude-opus-5']) {
      const ownModels = (await readPrices(`models: { ${name}: ${prices} }`))._unsafeUnwrap()
      for (const asked of ['claude-opus-5', 'anthropic/claude-opus-5']) {
        expect(usdOf(route(asked, { ownModels }), usage)).toBe(2)
      }
      // OpenRouter has prices of its own.
      const elsewhere = route('openrouter/anthropic/claude-opus-5', { ownModels })
      expect(usdOf(elsewhere, usage)).not.toBe(2)
    }
  })

  test('a local model can get a price', async () => {
    const prices = '{ input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.1 }'
    const ownModels = (await readPrices(`models: { ollama/x: ${prices} }`))._unsafeUnwrap()
    expect(usdOf(route('ollama/x', { ownModels }), usage)).toBeCloseTo(0.2, 9)
  })

  test.each([
    ['models: { m: { input_usd_per_mtok: x }}', 'models.m.input_usd_per_mtok: must be a number of'],
    ['models: { m: { output_usd_per_mtok: -1 }}', 'models.m.output_usd_per_mtok: must not be neg'],
    ['models: { m: { input_usd_per_mtok: 1 } }', 'models.m: a price needs input_usd_per_mtok and'],
    ['{"models": {"m": {"price": 1}}}', 'models.m: Unrecognized key: "price"'],
    ['models: { m: { context_window: 0 } }', 'models.m.context_window: must be more than 0'],
    ['models: { m: 5 }', 'models.m: must have fields'],
    ['prices: {}', 'it: Unrecognized key: "prices"'],
    ['- m', 'it: must have a list of models, as in `models: {}`'],
    ['', 'it: must have a list of models, as in `models: {}`'],
    ['{}', 'models: must have a list of models, as in `models: {}`'],
  ])('%j is refused, with the file and the field', async (content, message) => {
    const error = (await readPrices(content))._unsafeUnwrapErr()
    expect(error).toMatch(/^RETRAI_PRICES: the file .*file\.yml is not valid:\n/)
    expect(error).toContain(`  ${message}`)
  })

  test('a file that is missing or is not YAML is named', async () => {
    expect((await readPriceFile('/none.yml'))._unsafeUnwrapErr()).toMatch(
      /^RETRAI_PRICES: the file \/none\.yml cannot be read: ENOENT/,
    )
    expect((await readPrices('models:\n  {'))._unsafeUnwrapErr()).toMatch(
      /cannot be read: .*line 2/,
    )
  })
})

type Asked = { readonly url: string; readonly headers: IncomingHttpHeaders }

/** An endpoint that refuses each request, and keeps what it was asked. */
async function gateway() {
  const asked: Asked[] = []
  const url = await serve((request, response) => {
    asked.push({ url: request.url ?? '', headers: request.headers })
    const { authorization, 'x-api-key': key, 'x-goog-api-key': other } = request.headers
    const text = `no ${authorization ?? key ?? other}`
    response.writeHead(403).end(JSON.stringify({ error: { message: text } }))
  })
  return { url, asked }
}

describe('the file of RETRAI_PROVIDERS', () => {
  test.each([
    ['{', /cannot be read: /],
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
      'key-of-mine',
      'team-of-mine',
      'written-in-the-file',
    ])
    expect(providers.get('a')?.headers).toMatchObject({ 'x-team': 'team-of-mine' })
  })
})

/** What comes of a request to a model of an endpoint that refuses it. */
async function refusalBy(settings: ModelSettings, modelName: string) {
  const { signal } = new AbortController()
  const models = createModels(settings)
  return (await models.complete({ ...REQUEST, modelName }, signal))._unsafeUnwrapErr()
}

describe('a model of a provider in that file', () => {
  test.each<[string, string, object]>([
    ['chat', '/v1/chat/completions', { authorization: 'Bearer key-of-mine' }],
    ['responses', '/v1/responses', { authorization: 'Bearer key-of-mine' }],
    // Some vendors that speak Messages read the older header.
    [
      'messages',
      '/v1/messages',
      { authorization: 'Bearer key-of-mine', 'x-api-key': 'key-of-mine' },
    ],
    ['gemini', '/v1/models/big:streamGenerateContent?alt=sse', { 'x-goog-api-key': 'key-of-mine' }],
    ['ollama', '/v1/api/chat', { authorization: 'Bearer key-of-mine' }],
  ])(
    'is called over %s at %s, with its headers and its key, which no message shows',
    async (api, path, key) => {
      const { url, asked } = await gateway()
      const headers = { 'x-team-key': `\${TEAM}`, 'x-other': 'y' }
      const env = { MY_KEY: 'key-of-mine', TEAM: 'team-of-mine' }
      const entry = { api, base_url: `${url}/v1`, headers, key_env: 'MY_KEY' }
      const { providers, secrets } = (await read({ acme: entry }, env))._unsafeUnwrap()
      guardSecrets(secrets)
      const failed = await refusalBy({ ownProviders: providers }, 'acme/big')
      expect(failed).toMatchObject({ type: 'refused' })
      expect(JSON.stringify(failed)).not.toContain('key-of-mine')
      const call = asked.find((one) => one.url === path)
      expect(call?.headers).toMatchObject({ 'x-team-key': 'team-of-mine', 'x-other': 'y', ...key })
    },
  )

  test('without a key sends none, unless a header has it', async () => {
    const { url, asked } = await gateway()
    for (const api of ['chat', 'responses', 'messages']) {
      const headers = { authorization: 'Basic abc' }
      const file = { a: { api, base_url: `${url}/v1` }, b: { api, base_url: `${url}/v1`, headers } }
      const settings = { ownProviders: (await read(file))._unsafeUnwrap().providers }
      for (const model of ['a/x', 'b/x']) await refusalBy(settings, model)
    }
    const sent = asked.map(({ headers }) => [headers.authorization, headers['x-api-key']])
    const each = [
      [undefined, undefined],
      ['Basic abc', undefined],
    ]
    expect(sent).toEqual([each, each, each].flat())
  })

  const own = async (content: object, env: Record<string, string> = {}) => ({
    ownProviders: (await read(content, env))._unsafeUnwrap().providers,
  })

  test('wins over RETRAI_LLM_BASE_URL, and needs its key', async () => {
    const settings = await own({
      acme: { api: 'responses', base_url: 'https://gw/v1', key_env: 'K' },
    })
    const both = { ...settings, RETRAI_LLM_BASE_URL: 'http://x/v1' }
    const target = route('acme/openai/gpt-6-sol', both)
    expect(target).toMatchObject({ model: 'openai/gpt-6-sol', api: 'responses' })
    expect(target.problem).toContain('needs K, which is not set')
    expect(route('other/x', both).endpoint.baseUrl).toBe('http://x/v1')
  })

  test('of a vendor replaces its address, for all of its names, and keeps its prices and rules', async () => {
    const settings = {
      ...(await own({
        openai: { api: 'responses', base_url: 'https://gw/openai/v1' },
        anthropic: { api: 'messages', base_url: 'https://gw/anthropic' },
        deepseek: { api: 'chat', base_url: 'https://gw/deepseek' },
      })),
      OPENAI_API_KEY: 'key-of-openai',
      OPENAI_BASE_URL: 'http://elsewhere/v1',
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
    const address = `u:pass-of-proxy@127.0.0.1:${await portOf(proxy)}`
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
