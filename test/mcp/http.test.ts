import { writeFile } from 'node:fs/promises'
import type { IncomingMessage, RequestListener } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { createMcpHandler, McpServer as SdkServer } from '@modelcontextprotocol/server'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { Script } from '../../examples/scripted-model/script.ts'
import { MCP_DEFAULTS, type McpServer } from '../../src/domain/mcp-servers.ts'
import { guardSecrets } from '../../src/masking/process-mask.ts'
import { readServersFile } from '../../src/mcp/servers.ts'
import { only, played, reachGoal } from '../agent/support.ts'
import { temporaryFolder } from '../runner/support.ts'
import { serve } from '../support/serve.ts'
import { opened, withServers } from './support.ts'

const TOKEN = 'a-token-of-the-server-7f3e'

const listen = async (listener: RequestListener) => `${await serve(listener)}/mcp`

/** A server of the official SDK, and the headers that it got. */
async function sdkServer() {
  const headers: IncomingMessage['headers'][] = []
  const handler = createMcpHandler(() => {
    const server = new SdkServer({ name: 'docs', version: '9.9.9' })
    const inputSchema = z.object({ words: z.string() })
    server.registerTool('search', { description: 'Finds words.', inputSchema }, ({ words }) => ({
      content: [{ type: 'text', text: `Found ${words}, with ${TOKEN}.` }],
    }))
    return server
  })
  const url = await listen(async (request, response) => {
    headers.push(request.headers)
    const { method = 'GET' } = request
    const body = method === 'POST' ? await text(request) : null
    const answer = await handler.fetch(
      new Request(url, { method, headers: request.headers as Record<string, string>, body }),
    )
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    if (answer.body === null) response.end()
    else Readable.fromWeb(answer.body as ReadableStream).pipe(response)
  })
  return { url, headers }
}

const docs = (url: string, changes: Partial<McpServer> = {}): McpServer => ({
  ...MCP_DEFAULTS,
  name: 'docs',
  source: 'request',
  url,
  private_address: true,
  ...changes,
})

const search: Script = [
  { calls: [{ tool: 'mcp__docs__search', args: { words: 'append' } }] },
  { calls: [reachGoal] },
]

test('a server built with the official SDK lists its tools and answers calls; secrets of the file are sent and never recorded', async () => {
  const { url, headers } = await sdkServer()
  const definition = {
    url,
    headers: { authorization: 'Bearer $' + '{DOCS_TOKEN}' },
    private_address: true,
  }
  const file = join(await temporaryFolder(), 'mcp.json')
  await writeFile(file, JSON.stringify({ mcpServers: { docs: definition } }))
  const configuration = (await readServersFile(file, { DOCS_TOKEN: TOKEN }))._unsafeUnwrap()
  guardSecrets([{ name: 'DOCS_TOKEN', value: TOKEN }])
  const mcp_servers = [...configuration.servers.values()].map(({ recorded }) => recorded)
  const config = { max_turns_per_iteration: 20, mcp_servers }
  const { records, results } = await played(search, config, withServers(configuration))
  expect(only(records, 'mcp_tools_listed').payload).toMatchObject({
    server: 'docs',
    transport: 'http',
    server_name: 'docs',
    server_version: '9.9.9',
    tools: [{ name: 'mcp__docs__search', description: 'Finds words.' }],
  })
  expect(results[0]?.output).toBe('Found append, with [masked:DOCS_TOKEN].')
  expect(headers.every(({ authorization }) => authorization === `Bearer ${TOKEN}`)).toBe(true)
  expect(JSON.stringify(records)).not.toContain(TOKEN)
})

/** Why a run cannot use a server; undefined if it can. */
async function problemOf(server: McpServer): Promise<string | undefined> {
  await using servers = await opened(server)
  return servers.listing?.problem
}

test('an address that is not public is refused, by number and by name', async () => {
  const { url, headers } = await sdkServer()
  for (const at of [url, url.replace('127.0.0.1', 'localhost')]) {
    const { private_address: _, ...server } = docs(at)
    expect(await problemOf(server)).toMatch(/is not an address of the public Internet/)
  }
  expect(headers).toEqual([])
})

describe('a server that', () => {
  const answering = (status: number, type: string, body: string) =>
    listen((_, response) => response.writeHead(status, { 'content-type': type }).end(body))

  test('asks for a login: the reason says what to do', async () => {
    const at = await answering(401, 'text/plain', 'who?')
    expect(await problemOf(docs(at))).toMatch(/answered 401: it needs a token/)
  })

  test('answers with something else is refused with the reason', async () => {
    expect(await problemOf(docs(await answering(200, 'text/html', '<p>hi')))).toBeDefined()
  })

  test('never answers is given up after the time limit', async () => {
    const url = await listen(() => {})
    expect(await problemOf(docs(url, { start_timeout_s: 0.5 }))).toMatch(
      /no answer in time \(start_timeout_s is 0.5\)/,
    )
  })

  test('answers without end is cut off', async () => {
    const url = await listen((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const pour = (): void => {
        while (response.write('x'.repeat(100_000)));
        response.once('drain', pour)
      }
      pour()
    })
    expect(await problemOf(docs(url))).toBeDefined()
  })

  test('redirects to another host is not followed', async () => {
    const { url: other, headers } = await sdkServer()
    const url = await listen((_, response) => response.writeHead(307, { location: other }).end())
    expect(await problemOf(docs(url))).toBeDefined()
    expect(headers).toEqual([])
  })
})
