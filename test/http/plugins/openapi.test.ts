import fastify from 'fastify'
import fp from 'fastify-plugin'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { ALL_KINDS } from '../../../src/domain/records.ts'
import { serveDocs } from '../../../src/http/plugins/pages.ts'
import { startTestServer, type TestServer } from '../support.ts'

const Schema = z.record(z.string(), z.unknown())
const Media = z.looseObject({
  schema: Schema,
  example: z.unknown().optional(),
  examples: z.record(z.string(), z.object({ value: z.unknown() })).optional(),
})
type Media = z.infer<typeof Media>
const Operation = z.looseObject({
  operationId: z.string(),
  summary: z.string(),
  description: z.string().optional(),
  requestBody: z.looseObject({ content: z.record(z.string(), Media) }).optional(),
  responses: z.record(
    z.string(),
    z.looseObject({
      description: z.string().min(1),
      content: z.record(z.string(), Media).optional(),
      headers: z.record(z.string(), z.unknown()).optional(),
    }),
  ),
})
const Document = z.looseObject({
  openapi: z.string(),
  info: z.looseObject({ title: z.string(), version: z.string() }),
  paths: z.record(z.string(), z.record(z.string(), Operation)),
  components: z.looseObject({ schemas: z.record(z.string(), Schema) }),
})

const DEFAULT_CWD = '/somewhere/on/the/server'

let server: TestServer
let text: string
let document: z.infer<typeof Document>
beforeAll(async () => {
  const defaults = { cwd: DEFAULT_CWD, model_name: 'claude-sonnet-4-6', max_iterations: 20 }
  server = await startTestServer({ defaults })
  text = await (await fetch(`${server.url}/openapi.json`)).text()
  document = Document.parse(JSON.parse(text))
})
afterAll(() => server.stop())

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  )

describe('the description of the API', () => {
  test('is OpenAPI 3.1 and has every address', () => {
    expect(document.openapi).toMatch(/^3\.1\./)
    const addresses = operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`)
    expect(addresses.sort()).toEqual([
      'DELETE /api/tokens/{id}',
      'GET /api/access',
      'GET /api/access/proof',
      'GET /api/approvals',
      'GET /api/checkpoints',
      'GET /api/checkpoints/{number}',
      'GET /api/checkpoints/{number}/runs',
      'GET /api/checkpoints/{number}/runs/{run_id}',
      'GET /api/events',
      'GET /api/goals',
      'GET /api/isolation',
      'GET /api/keys',
      'GET /api/ledgers',
      'GET /api/ledgers/{name}',
      'GET /api/mcp-servers',
      'GET /api/me',
      'GET /api/models',
      'GET /api/runs',
      'GET /api/runs/{run_id}',
      'GET /api/runs/{run_id}/artifacts/{sha256}',
      'GET /api/runs/{run_id}/conversation',
      'GET /api/runs/{run_id}/diff',
      'GET /api/runs/{run_id}/events',
      'GET /api/runs/{run_id}/export',
      'GET /api/runs/{run_id}/proof',
      'GET /api/runs/{run_id}/redactions',
      'GET /api/tokens',
      'GET /api/ws',
      'GET /api/ws/{run_id}',
      'GET /health/live',
      'GET /health/ready',
      'PATCH /api/runs/{run_id}/config',
      'POST /api/runs',
      'POST /api/runs/{run_id}/abort',
      'POST /api/runs/{run_id}/approvals/{seq}',
      'POST /api/runs/{run_id}/messages',
      'POST /api/runs/{run_id}/redact',
      'POST /api/runs/{run_id}/resume',
      'POST /api/tickets',
      'POST /api/tokens',
    ])
  })

  test('names the server that answers, and none of its folders', () => {
    expect(document.servers).toEqual([{ url: '/', description: 'This server' }])
    expect(text).not.toContain(DEFAULT_CWD)
  })

  test('describes each payload by its kind', () => {
    for (const [name, variant] of [
      ['EventFrame', 'ToolCallEvent'],
      ['FeedFrame', 'ToolCallFeedEvent'],
    ] as const) {
      const { oneOf } = document.components.schemas[name] ?? {}
      expect(oneOf).toHaveLength(ALL_KINDS.length)
      expect(oneOf).toContainEqual({ $ref: `#/components/schemas/${variant}` })
      expect(document.components.schemas[variant]).toMatchObject({
        properties: {
          kind: { const: 'tool_call' },
          payload: { $ref: '#/components/schemas/ToolCallPayload' },
        },
      })
    }
  })

  test('refers to nothing that is missing', () => {
    const references = [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)]
    expect(references.length).toBeGreaterThan(0)
    for (const [, name = ''] of references) {
      expect(Object.keys(document.components.schemas)).toContain(name)
    }
  })

  test('names the schema of every JSON body, or of its items', () => {
    for (const { operation } of operations()) {
      const media = [
        operation.requestBody?.content['application/json'],
        ...Object.values(operation.responses).map((r) => r.content?.['application/json']),
      ]
      for (const { schema } of media.filter((each) => each !== undefined)) {
        const named = schema.type === 'array' ? Schema.parse(schema.items) : schema
        expect(named, operation.operationId).toHaveProperty('$ref')
      }
    }
  })

  test('has no schema that is never used', () => {
    for (const name of Object.keys(document.components.schemas)) {
      expect(text).toContain(`"$ref":"#/components/schemas/${name}"`)
    }
  })

  test('gives each operation a name of its own', () => {
    const names = operations().map(({ operation }) => operation.operationId)
    expect(new Set(names).size).toBe(names.length)
  })

  test('describes errors as problem documents', () => {
    for (const { path, operation } of operations()) {
      for (const [status, response] of Object.entries(operation.responses)) {
        if (Number(status) < 400 || path === '/health/ready') continue
        expect(response.content?.['application/problem+json']?.schema).toEqual({
          $ref: '#/components/schemas/Problem',
        })
        expect(response.description).toContain('urn:retrai:problem:')
      }
    }
  })

  test('lists the problems that any request can have before a route handles it', () => {
    for (const { path, operation } of operations()) {
      const expected = ['400', '403', '408', '417', '431', '500']
      if (path.startsWith('/api')) expected.push('401', '503')
      if (path.includes('{')) expected.push('404')
      if (operation.requestBody !== undefined) expected.push('413', '415', '422')
      for (const status of expected) {
        expect(Object.keys(operation.responses), `${operation.operationId}`).toContain(status)
      }
    }
  })

  test('marks no field of a request as read-only', () => {
    const requests = operations().map(({ operation }) => operation.requestBody)
    expect(JSON.stringify(requests)).not.toContain('readOnly')
  })

  test('has an example for every body, which fits its schema', () => {
    for (const { operation } of operations()) {
      const bodies = [
        operation.requestBody?.content['application/json'],
        ...Object.values(operation.responses).map((r) => r.content?.['application/json']),
      ]
      for (const media of bodies) if (media !== undefined) checkExamples(media)
    }
  })

  const resolve = (schema: unknown): Record<string, unknown> => {
    const given = Schema.parse(schema)
    const name = /\/([^/]+)$/.exec(String(given.$ref ?? ''))?.[1]
    return name === undefined ? given : Schema.parse(document.components.schemas[name])
  }

  function checkExamples({ schema, example, examples }: Media): void {
    const resolved = resolve(schema)
    const ofItems = resolved.items === undefined ? [] : (resolve(resolved.items).examples ?? [])
    const given = [
      ...(example === undefined ? [] : [example]),
      ...Object.values(examples ?? {}).map(({ value }) => value),
      ...z.array(z.unknown()).parse(resolved.examples ?? []),
      ...z
        .array(z.unknown())
        .parse(ofItems)
        .map((item) => [item]),
    ]
    expect(given.length, JSON.stringify(schema)).toBeGreaterThan(0)
    // It may refer to other schemas.
    const $defs = document.components.schemas
    const whole = JSON.stringify({ ...resolved, $defs })
    const complete = JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/'))
    for (const value of given) z.fromJSONSchema(complete).parse(value)
  }

  test('describes the headers of requests and answers', () => {
    const headersOf = (path: string, method: string, status: string) =>
      Object.keys(document.paths[path]?.[method]?.responses[status]?.headers ?? {})
    expect(headersOf('/api/runs', 'post', '201')).toEqual(['Location'])
    expect(headersOf('/api/runs', 'post', '200')).toEqual(['Location'])
    expect(headersOf('/api/runs', 'post', '503')).toEqual(['Retry-After'])
    expect(headersOf('/api/runs', 'get', '200')).toEqual(['Link'])
    expect(headersOf('/api/runs/{run_id}', 'get', '200')).toEqual(['ETag'])
    expect(headersOf('/api/runs/{run_id}', 'get', '304')).toEqual(['ETag'])
    expect(headersOf('/api/runs/{run_id}/config', 'patch', '200')).toEqual(['ETag'])
    expect(headersOf('/health/ready', 'get', '503')).toEqual([])
    const asked = (path: string, method: string) =>
      z
        .array(z.looseObject({ in: z.string(), name: z.string() }))
        .parse(document.paths[path]?.[method]?.parameters)
        .flatMap((parameter) => (parameter.in === 'header' ? [parameter.name] : []))
    expect(asked('/api/runs', 'post')).toEqual(['Idempotency-Key'])
    expect(asked('/api/runs/{run_id}/messages', 'post')).toEqual(['Idempotency-Key'])
    expect(asked('/api/runs/{run_id}', 'get')).toEqual(['If-None-Match'])
  })

  test('describes each group of operations', () => {
    const tags = z.array(z.looseObject({ name: z.string() })).parse(document.tags)
    const used = operations().flatMap(({ operation }) => z.array(z.string()).parse(operation.tags))
    expect(tags.map(({ name }) => name).sort()).toEqual([...new Set(used)].sort())
  })

  test('explains how to use the WebSocket', () => {
    const description = document.paths['/api/ws/{run_id}']?.get?.description ?? ''
    for (const word of ['4404', '4400', '1000', '1001', '1011', '?after=', 'seq', 'run_end']) {
      expect(description).toContain(word)
    }
  })
})

describe('the page of the description', () => {
  test('is at /docs and loads nothing from elsewhere', async () => {
    const page = await fetch(`${server.url}/docs`)
    expect([page.status, page.headers.get('content-type')]).toEqual([
      200,
      'text/html; charset=utf-8',
    ])
    const html = await page.text()
    const sources = [...html.matchAll(/\b(?:src|href)="([^"]+)"/g)].map(([, source = '']) => source)
    expect(sources).toEqual(['js/scalar.js'])
    expect(html).toContain('/openapi.json')
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("connect-src 'self'")
    expect(policy).not.toContain('http')
    const [nonce] = /nonce-[^']+/.exec(policy) ?? []
    const inline = [...html.matchAll(/<script(?![^>]*\bsrc=)[^>]*>/g)].map(([tag]) => tag)
    for (const tag of inline) expect(tag).toContain(nonce?.replace('nonce-', 'nonce="'))
    const script = await fetch(new URL('js/scalar.js', page.url))
    expect([script.status, script.headers.get('content-type')]).toEqual([
      200,
      'application/javascript; charset=utf-8',
    ])
    const missing = await fetch(new URL('js/missing.js', page.url))
    expect([missing.status, missing.headers.get('content-type')]).toEqual([
      404,
      'application/problem+json',
    ])
  })

  test('is built again after it could not be built', async () => {
    const app = fastify()
    let builds = 0
    const build = async () => {
      builds += 1
      if (builds === 1) throw new Error('too many open files')
      return fastify()
    }
    await app.register(fp(async () => {}, { name: 'descriptions' }))
    await app.register(serveDocs, { build })
    const status = async () => (await app.inject('/docs')).statusCode
    expect(await status()).toBe(500)
    // The page of this test has no routes.
    expect(await status()).not.toBe(500)
    expect(builds).toBe(2)
  })
})
