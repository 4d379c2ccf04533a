import { describe, expect } from 'vitest'
import * as z from 'zod'
import { CATALOGUE } from '../../../src/api/problems.ts'
import { present } from '../../../src/domain/present.ts'
import { SHOWN } from '../../../src/http/plugins/access-log.ts'
import { testWith } from '../../support/test.ts'
import { PERMISSIONS } from '../access/people.ts'

const Schema = z.record(z.string(), z.unknown())
const Media = z.looseObject({ schema: Schema })
const Examples = z.array(z.unknown()).default([])
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
    }),
  ),
})
const Document = z.looseObject({
  openapi: z.string(),
  info: z.looseObject({ title: z.string(), version: z.string(), description: z.string() }),
  paths: z.record(z.string(), z.record(z.string(), Operation)),
  components: z.looseObject({ schemas: z.record(z.string(), Schema) }),
})

const DEFAULT_CWD = '/somewhere/on/the/server'
let text: string
let document: z.infer<typeof Document>

const test = testWith({
  defaults: { cwd: DEFAULT_CWD, model_name: 'claude-sonnet-4-6', max_iterations: 20 },
})
test.beforeAll(async ({ server }) => {
  text = await (await fetch(`${server.url}/openapi.json`)).text()
  document = Document.parse(JSON.parse(text))
})

/** Operations that show nothing of the log. */
const SHOWS_NOTHING = [
  'listGoals',
  'listServerApprovals',
  'listKeys',
  'readLogKey',
  'listModels',
  'me',
  'live',
  'ready',
  'showIsolation',
  'listMcpServers',
  'metrics',
]

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  )

describe('the description of the API', () => {
  test('is OpenAPI 3.1 and has every address', () => {
    expect(document.openapi).toMatch(/^3\.1\./)
    const addresses = operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`)
    const api = Object.keys(PERMISSIONS).map((route) =>
      route.replace(/:(\w+)/g, '{$1}').replace('*', '{*}'),
    )
    const health = ['GET /health/live', 'GET /health/ready']
    expect(addresses.sort()).toEqual([...api, ...health].sort())
  })

  test('has no operation that shows something of the log without an entry in the access log', () => {
    const readable = operations().filter(({ method }) => method === 'get')
    expect([...Object.keys(SHOWN), ...SHOWS_NOTHING].sort()).toEqual(
      readable.map(({ operation }) => operation.operationId).sort(),
    )
  })

  test('names the server that answers, and none of its folders', () => {
    expect(document.servers).toEqual([{ url: '/', description: 'This server' }])
    expect(text).not.toContain(DEFAULT_CWD)
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

  test('describes every error as a problem document, and lists all problems', () => {
    for (const { operation } of operations()) {
      const { schema } = operation.responses.default?.content?.['application/problem+json'] ?? {}
      expect(schema).toEqual({ $ref: '#/components/schemas/Problem' })
    }
    for (const code of Object.keys(CATALOGUE)) {
      expect(document.info.description).toContain(`| \`${code}\` |`)
    }
  })

  test('has an example for the body of every request, and each example fits its schema', () => {
    for (const { operation } of operations()) {
      const asked = operation.requestBody?.content['application/json']
      if (asked !== undefined)
        expect(checkExamples(asked), operation.operationId).toBeGreaterThan(0)
      for (const { content } of Object.values(operation.responses)) {
        const media = content?.['application/json']
        if (media !== undefined) checkExamples(media)
      }
    }
  })

  const resolve = (schema: unknown): Record<string, unknown> => {
    const given = Schema.parse(schema)
    const name = /\/([^/]+)$/.exec(String(given.$ref ?? ''))?.[1]
    return name === undefined ? given : Schema.parse(document.components.schemas[name])
  }

  /** @returns how many there are */
  function checkExamples({ schema }: Media): number {
    const { examples, items, ...resolved } = resolve(schema)
    const ofItems = items === undefined ? [] : Examples.parse(resolve(items).examples)
    const given = [...Examples.parse(examples), ...ofItems.map((item) => [item])]
    if (given.length === 0) return 0
    // It may refer to other schemas.
    const $defs = document.components.schemas
    const whole = JSON.stringify({ ...resolved, ...present({ items }), $defs })
    const complete = JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/'))
    for (const value of given) z.fromJSONSchema(complete).parse(value)
    return given.length
  }
})

describe('the page of the description', () => {
  test('is at /docs and loads nothing from elsewhere', async ({ server }) => {
    const get = async (path: string) => {
      const answer = await fetch(new URL(path, server.url))
      return { answer, found: [answer.status, answer.headers.get('content-type')] }
    }
    const { answer: page, found } = await get('/docs')
    expect(found).toEqual([200, 'text/html; charset=utf-8'])
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
    const script = await get('/docs/js/scalar.js')
    expect(script.found).toEqual([200, 'application/javascript; charset=utf-8'])
    const missing = await get('/docs/js/missing.js')
    expect(missing.found).toEqual([404, 'application/problem+json'])
  })
})
