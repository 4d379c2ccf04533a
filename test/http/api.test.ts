import { randomUUID } from 'node:crypto'
import { describe, expect } from 'vitest'
import * as z from 'zod'
import { ProblemDocument } from '../../src/api/problems.ts'
import { RunDetails, RunSummary } from '../../src/api/runs.ts'
import { CLAIM, GOALS, iteration, rawRequest, type TestServer } from '../support/server.ts'
import { test } from '../support/test.ts'

let documented: z.infer<typeof OpenApi>

const OpenApi = z.object({
  paths: z.record(
    z.string(),
    z.record(z.string(), z.object({ responses: z.record(z.string(), z.unknown()) })),
  ),
})
test.beforeAll(async ({ server }) => {
  const openApi = await fetch(`${server.url}/openapi.json`)
  documented = OpenApi.parse(await openApi.json())
})

/** Creates a run in the state that a `:name` in an address names. @returns its id */
const STATES: Readonly<Record<string, (server: TestServer) => Promise<string>>> = {
  running: (server) => server.createRun(),
  waiting: async (server) => {
    const runId = await server.createRun({ hitl_enabled: true })
    await server.agentDoes(runId, CLAIM, ...iteration(false))
    return runId
  },
  ended: async (server) => {
    const runId = await server.createRun()
    await server.agentDoes(runId, CLAIM, ...iteration(true))
    return runId
  },
  unknown: async () => randomUUID(),
}

type Case = {
  readonly ask: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
  readonly status: number
  /** The code of the problem, or the schema of the answer. */
  readonly answer: string | z.ZodType
  /** Part of the problem's detail. */
  readonly says?: string
}

const Started = z.strictObject({ run_id: z.uuid(), status: z.literal('running') })
const Resumed = z.strictObject({ run_id: z.uuid(), status: z.string(), resumed_with: z.string() })
const goal = 'pytest'

const cases: Case[] = [
  { ask: 'POST /api/runs', body: { goal }, status: 201, answer: Started },
  {
    ask: 'POST /api/runs',
    body: { goal, cwd: '/', model_name: 'gpt-5-mini', max_iterations: 3, hitl_enabled: true },
    status: 201,
    answer: Started,
  },
  {
    ask: 'POST /api/runs',
    body: { goal, max_cost_usd: null },
    headers: { 'content-type': 'application/json; charset=utf-8' },
    status: 201,
    answer: Started,
  },
  {
    ask: 'POST /api/runs',
    body: { goal, protect: ['qa/**', '*.{lock,toml}', '[a-c]?'] },
    status: 201,
    answer: Started,
  },
  ...(
    [
      [['/etc/*'], 'relative to the project'],
      [['C:/x'], 'relative to the project'],
      [['a/{..,b}/c'], 'must not lead out of the project'],
      [['*a*b*c*d'], 'three stars'],
      [['**/a/**/b/**'], 'two **'],
      [Array.from({ length: 101 }, (_, at) => `${at}`), 'at most 100'],
      [['x'.repeat(201)], '200 characters'],
      [[''], 'protect'],
    ] as const
  ).map(([protect, says]) => ({
    ask: 'POST /api/runs',
    body: { goal, protect },
    status: 422,
    answer: 'invalid_request' as const,
    says,
  })),
  { ask: 'POST /api/runs', body: '{"goal":', status: 400, answer: 'malformed_json' },
  ...[
    '{"goal":"pytest","cwd":"/","goal":"npm-test"}',
    '{"all_of":[{"goal":"pytest"},{"x":1, "go\\u0061l":1, "goal":2}]}',
  ].map((body) => ({
    ask: 'POST /api/runs',
    body,
    status: 400,
    answer: 'malformed_json' as const,
    says: 'The body has "goal" twice in one object',
  })),
  {
    ask: 'POST /api/runs',
    body: `{"goal":"${'x'.repeat(8 * 1024 * 1024)}"}`,
    status: 413,
    answer: 'too_large',
    says: '8 MiB if it starts a run',
  },
  {
    ask: 'POST /api/runs',
    body: { goal: 'x'.repeat(1_000_000 - 200), cwd: '/' },
    status: 422,
    answer: 'invalid_request',
  },
  { ask: 'POST /api/runs', body: '', status: 422, answer: 'invalid_request', says: 'required' },
  { ask: 'POST /api/runs', body: [], status: 422, answer: 'invalid_request', says: 'JSON object' },
  {
    ask: 'POST /api/runs',
    body: {},
    status: 422,
    answer: 'invalid_request',
    says: 'Choose one of: pytest, npm-test.',
  },
  { ask: 'GET /api/runs', status: 200, answer: z.array(RunSummary.strict()) },
  { ask: 'GET /api/runs?status=awaiting_human', status: 200, answer: z.array(RunSummary) },
  { ask: 'GET /api/runs?goal=nope', status: 200, answer: z.array(RunSummary).length(0) },
  { ask: 'GET /api/runs?limit=0', status: 422, answer: 'invalid_request', says: 'at least 1' },
  { ask: 'GET /api/runs?limit=1001', status: 422, answer: 'invalid_request', says: 'at most 1000' },
  ...['many', '0x10', '1e2', '%205', '%2B5', '5.0', ''].flatMap((text) =>
    [
      ...['/api/runs?limit=', '/api/events?limit=', '/api/access?limit='],
      ...['/api/checkpoints?limit=', '/api/checkpoints?after=', '/api/runs/:ended/events?limit='],
    ].map((path) => ({
      ask: `GET ${path}${text}`,
      status: 422,
      answer: 'invalid_request' as const,
      says: 'a whole number in decimal digits',
    })),
  ),
  { ask: 'GET /api/checkpoints?after=-1', status: 200, answer: z.array(z.object({})) },
  { ask: 'GET /api/runs?status=odd', status: 422, answer: 'invalid_request', says: '"achieved"' },
  { ask: 'GET /api/runs?cursor=odd', status: 422, answer: 'invalid_request', says: 'Link header' },
  { ask: 'GET /api/runs?page=2', status: 422, answer: 'invalid_request', says: 'page' },
  { ask: 'GET /api/runs/:running', status: 200, answer: RunDetails.strict() },
  { ask: 'GET /api/runs/:ended', status: 200, answer: RunDetails.strict() },
  { ask: 'GET /api/runs/:waiting', status: 200, answer: RunDetails.strict() },
  {
    ask: 'GET /api/runs/:ended',
    headers: { 'if-none-match': '*' },
    status: 304,
    answer: z.never(),
  },
  { ask: 'GET /api/runs/:unknown', status: 404, answer: 'run_not_found' },
  {
    ask: 'POST /api/runs/:waiting/resume',
    body: { decision: 'maybe' },
    status: 422,
    answer: 'invalid_request',
    says: '"approve" or "abort"',
  },
  {
    ask: 'POST /api/runs/:waiting/resume',
    body: { decision: 'approve', seq: 0 },
    status: 409,
    answer: 'stale_decision',
    says: 'seq 0',
  },
  {
    ask: 'POST /api/runs/:waiting/resume',
    body: { decision: 'approve', reason: 'Go on' },
    status: 200,
    answer: Resumed,
  },
  {
    ask: 'POST /api/runs/:running/resume',
    body: { decision: 'approve' },
    status: 409,
    answer: 'not_awaiting_human',
  },
  {
    ask: 'POST /api/runs/:ended/resume',
    body: { decision: 'abort' },
    status: 409,
    answer: 'run_ended',
    says: 'achieved',
  },
  {
    ask: 'POST /api/runs/:unknown/resume',
    body: { decision: 'abort' },
    status: 404,
    answer: 'run_not_found',
  },
  {
    ask: 'PATCH /api/runs/:running/config',
    body: { max_iterations: 30, model_name: 'gpt-5-mini', hitl_enabled: true },
    status: 200,
    answer: RunDetails.extend({ max_iterations: z.literal(30), hitl_enabled: z.literal(true) }),
  },
  {
    ask: 'PATCH /api/runs/:running/config',
    body: {},
    status: 422,
    answer: 'invalid_request',
    says: 'at least one of',
  },
  {
    ask: 'PATCH /api/runs/:running/config',
    body: { max_iterations: 1.5, goal: 'npm-test' },
    status: 422,
    answer: 'invalid_request',
    says: 'max_iterations must be a whole number. goal is not a field',
  },
  {
    ask: 'PATCH /api/runs/:running/config',
    body: { model_name: 'gemini-3-pro' },
    status: 422,
    answer: 'invalid_request',
    says: 'GEMINI_API_KEY',
  },
  {
    ask: 'POST /api/runs/:running/abort',
    body: { because: 'x' },
    status: 422,
    answer: 'invalid_request',
    says: 'because is not a field',
  },
  {
    ask: 'POST /api/runs/:running/abort',
    body: { reason: 'x'.repeat(1_000_000) },
    status: 413,
    answer: 'append_too_large',
    says: 'Shorten it',
  },
  {
    ask: 'POST /api/runs/:running/abort',
    body: { reason: 'No longer needed' },
    status: 200,
    answer: z.strictObject({ run_id: z.uuid(), status: z.literal('aborted') }),
  },
  { ask: 'POST /api/runs/:ended/abort', body: '', status: 409, answer: 'run_ended' },
  {
    ask: 'GET /api/goals',
    status: 200,
    answer: z
      .array(z.strictObject({ name: z.string(), description: z.string() }))
      .length(GOALS.length),
  },
  { ask: 'GET /health/live', status: 200, answer: z.strictObject({ status: z.literal('ok') }) },
  {
    ask: 'GET /health/ready',
    status: 200,
    answer: z.strictObject({ ready: z.literal(true), checks: z.record(z.string(), z.unknown()) }),
  },
  { ask: 'GET /api/ws/:running', status: 426, answer: 'upgrade_required' },
]

/** These answers do not belong to an operation, so the description does not have them. */
const elsewhere: Case[] = [
  { ask: 'GET /nothing/here', status: 404, answer: 'not_found' },
  { ask: 'POST /api/nothing', body: {}, status: 404, answer: 'not_found' },
  { ask: 'GET /%zz', status: 404, answer: 'not_found' },
  { ask: 'DELETE /api/runs', status: 405, answer: 'method_not_allowed', says: 'GET, HEAD, POST' },
  { ask: 'PUT /api/runs/:ended', status: 405, answer: 'method_not_allowed', says: 'GET, HEAD' },
  { ask: 'GET /api/runs/:ended/abort', status: 405, answer: 'method_not_allowed', says: 'POST' },
]

const ask = async (server: TestServer, { ask: line, body, headers = {} }: Case) => {
  const [method = '', path = ''] = line.split(' ')
  const state = /:(\w+)/.exec(path)?.[1]
  const made = state === undefined ? undefined : await STATES[state]?.(server)
  const named = made === undefined ? path : path.replace(/:\w+/, made)
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const json = text === undefined || text === '' ? {} : { 'content-type': 'application/json' }
  return rawRequest(server, {
    method,
    path: named,
    headers: { ...json, ...headers },
    ...(text === undefined ? {} : { body: text }),
  })
}

describe('every answer', () => {
  test.for(cases.map((item) => [`${item.ask} → ${item.status}`, item] as const))(
    '%s',
    async ([_, item], { server }) => {
      const { status, headers, body } = await ask(server, item)
      expect([status, body]).toEqual([item.status, expect.anything()])
      expect(documentedStatuses(item.ask)).toContain(String(status))
      check(item, headers, body)
    },
  )

  test.for(elsewhere.map((item) => [`${item.ask} → ${item.status}`, item] as const))(
    '%s',
    async ([_, item], { server }) => {
      const { status, headers, body } = await ask(server, item)
      expect([status, body]).toEqual([item.status, expect.anything()])
      check(item, headers, body)
      if (status === 405) expect(headers.allow).toBe(item.says)
    },
  )
})

function check({ answer, says, ask }: Case, headers: Record<string, unknown>, body: string): void {
  if (answer instanceof z.ZodNever) {
    expect(body).toBe('')
    return
  }
  if (typeof answer !== 'string') {
    expect(headers['content-type']).toBe('application/json; charset=utf-8')
    answer.parse(JSON.parse(body))
    return
  }
  expect(headers['content-type']).toBe('application/problem+json')
  const problem = ProblemDocument.strict().parse(JSON.parse(body))
  expect(problem.type).toBe(`urn:retrai:problem:${answer}`)
  expect(problem.detail).toContain(says ?? '')
  expect(problem.detail).toMatch(/\.$/)
  expect(problem.instance).toMatch(ask.includes(':') ? /^\/api\// : ask.slice(ask.indexOf('/')))
}

function documentedStatuses(line: string): string[] {
  const [method = '', path = ''] = line.toLowerCase().split(/[ ?]/)
  const template = path.replace(/^(\/api\/(?:runs|ws))\/[^/]+/, '$1/{run_id}')
  return Object.keys(documented.paths[template]?.[method]?.responses ?? {})
}
