import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import * as z from 'zod'
import { ProblemDocument } from '../../src/api/problems.ts'
import { RunDetails, RunSummary } from '../../src/api/runs.ts'
import { CLAIM, GOALS, iteration, rawRequest, type TestServer } from '../support/server.ts'
import { test } from '../support/test.ts'

/** Creates a run in the state that a `:name` in an address names. @returns its id */
const STATES: Readonly<Record<string, (server: TestServer) => Promise<string>>> = {
  running: (server) => server.createRun(),
  waiting: async (server) => {
    const runId = await server.createRun({ hitl_enabled: true }, CLAIM, ...iteration(false))
    return runId
  },
  ended: async (server) => {
    const runId = await server.createRun({}, CLAIM, ...iteration(true))
    return runId
  },
  unknown: async () => randomUUID(),
}

type Case = {
  /** The method and the address. */
  readonly line: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
  readonly status: number
  /** The code of the problem, or the schema of the answer. */
  readonly answer: string | z.ZodType
  /** Part of the problem's detail. */
  readonly says: string
}

/** A request with a body that has an answer, or with one that is refused. */
const sent = (line: string, body: unknown, status: number, answer: Case['answer'], says = '') =>
  ({ line, body, status, answer, says }) satisfies Case
const read = (path: string, answer: Case['answer'], headers = {}, status = 200): Case => ({
  line: `GET ${path}`,
  headers,
  status,
  answer,
  says: '',
})
const refused = (line: string, status: number, answer: string, says = ''): Case => ({
  line,
  status,
  answer,
  says,
})

const Started = z.strictObject({ run_id: z.uuid(), status: z.literal('running') })
const Resumed = z.strictObject({ run_id: z.uuid(), status: z.string(), resumed_with: z.string() })
const Aborted = z.strictObject({ run_id: z.uuid(), status: z.literal('aborted') })
const Goal = z.strictObject({ name: z.string(), description: z.string() })
const Configured = RunDetails.extend({ max_iterations: z.literal(30) })
const Ready = z.strictObject({ ready: z.literal(true), checks: z.looseObject({}) })
const goal = 'pytest'

const RUNS = 'POST /api/runs'
const RESUME = 'POST /api/runs/:waiting/resume'
const ABORT = 'POST /api/runs/:running/abort'
const CONFIG = 'PATCH /api/runs/:running/config'
const approve = { decision: 'approve' }
const abort = { decision: 'abort' }

const cases: Case[] = [
  ...[
    { goal },
    { goal, cwd: '/', model_name: 'gpt-5-mini', max_iterations: 3, hitl_enabled: true },
    { goal, protect: ['qa/**', '*.{lock,toml}', '[a-c]?'], max_cost_usd: null },
  ].map((body) => sent(RUNS, body, 201, Started)),
  {
    ...sent(RUNS, { goal }, 201, Started),
    headers: { 'content-type': 'application/json; charset=utf-8' },
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
  ).map(([protect, says]) => sent(RUNS, { goal, protect }, 422, 'invalid_request', says)),
  sent(RUNS, '{"goal":', 400, 'malformed_json'),
  sent(RUNS, { goal: 'x'.repeat(8 * 1024 * 1024) }, 413, 'too_large', '8 MiB if it starts a run'),
  sent(RUNS, { goal: 'x'.repeat(1_000_000 - 200), cwd: '/' }, 422, 'invalid_request'),
  sent(RUNS, '', 422, 'invalid_request', 'required'),
  sent(RUNS, [], 422, 'invalid_request', 'JSON object'),
  sent(RUNS, {}, 422, 'invalid_request', 'Choose one of: pytest, npm-test.'),
  read('/api/runs', z.array(RunSummary.strict())),
  read('/api/runs?status=awaiting_human', z.array(RunSummary)),
  read('/api/runs?goal=nope', z.array(RunSummary).length(0)),
  ...(
    [
      ['limit=0', 'at least 1'],
      ['limit=1001', 'at most 1000'],
      ['status=odd', '"achieved"'],
      ['cursor=odd', 'Link header'],
      ['page=2', 'page'],
    ] as const
  ).map(([query, says]) => refused(`GET /api/runs?${query}`, 422, 'invalid_request', says)),
  ...[
    ...['many', '0x10', '1e2', '%205', '%2B5', '5.0', ''].map((text) => `/api/runs?limit=${text}`),
    '/api/events?limit=x',
    '/api/access?limit=x',
    '/api/checkpoints?limit=x',
    '/api/checkpoints?after=x',
    '/api/runs/:ended/events?limit=x',
  ].map((path) =>
    refused(`GET ${path}`, 422, 'invalid_request', 'a whole number in decimal digits'),
  ),
  read('/api/checkpoints?after=-1', z.array(z.object({}))),
  ...(
    [
      ['events?after=x', 'after must be the seq'],
      ['events?after=99', 'after=99 is beyond the last record'],
      ['events?limit=0', 'limit must be at least 1'],
      ['events?limit=5001', 'limit must be at most 5000'],
      ['events?direction=up', 'direction must be "forward" or "backward"'],
      ['events?kinds=nope', 'kinds must be "all", or some of'],
      ['events?from_ts=now', 'from_ts must be seconds'],
      ['events?from=1', 'from is not a field'],
      ['events?live=true', 'live=true is only for text/event-stream'],
      ['conversation?at=x', 'at must be the seq of a record'],
      ['diff?from=1&to=0', 'from must not be after to'],
      ['diff?from=0', 'to is required'],
    ] as const
  ).map(([query, says]) =>
    refused(`GET /api/runs/:running/${query}`, 422, 'invalid_request', says),
  ),
  ...['conversation?at=9999999999', 'diff?from=0&to=9', '?at=1'].map((query) => {
    const path = query.startsWith('?') ? query : `/${query}`
    return refused(`GET /api/runs/:running${path}`, 404, 'record_not_found', 'its last one is 0')
  }),
  refused('GET /api/runs/:running?at=99999999999', 422, 'invalid_request', 'from 0 to 9999999999'),
  ...['running', 'ended', 'waiting'].map((state) => {
    return read(`/api/runs/:${state}`, RunDetails.strict())
  }),
  read('/api/runs/:ended', z.never(), { 'if-none-match': '*' }, 304),
  ...['', '/proof', '/export'].flatMap((what) =>
    [':unknown', 'no-uuid'].map((id) =>
      refused(`GET /api/runs/${id}${what}`, 404, 'run_not_found'),
    ),
  ),
  sent('POST /api/runs/no-uuid/abort', {}, 404, 'run_not_found'),
  ...['latest', '0', '-1', 'x', '99999999999999999999'].flatMap((number) =>
    ['', '/runs', '/runs/:unknown'].map((what) =>
      refused(`GET /api/checkpoints/${number}${what}`, 404, 'checkpoint_not_found'),
    ),
  ),
  read('/api/checkpoints', z.array(z.object({})).length(0)),
  sent(RESUME, { decision: 'maybe' }, 422, 'invalid_request', '"approve" or "abort"'),
  sent(RESUME, { ...approve, seq: 0 }, 409, 'stale_decision', 'seq 0'),
  sent(RESUME, { ...approve, reason: 'Go on' }, 200, Resumed),
  sent('POST /api/runs/:running/resume', approve, 409, 'not_awaiting_human'),
  sent('POST /api/runs/:ended/resume', abort, 409, 'run_ended', 'achieved'),
  sent('POST /api/runs/:unknown/resume', abort, 404, 'run_not_found'),
  sent(CONFIG, { max_iterations: 30, model_name: 'gpt-5-mini' }, 200, Configured),
  sent(CONFIG, {}, 422, 'invalid_request', 'at least one of'),
  sent(
    ...([CONFIG, { max_iterations: 1.5, goal: 'npm-test' }, 422, 'invalid_request'] as const),
    'max_iterations must be a whole number. goal is not a field',
  ),
  sent(CONFIG, { model_name: 'gemini-3-pro' }, 422, 'invalid_request', 'GEMINI_API_KEY'),
  sent(ABORT, { because: 'x' }, 422, 'invalid_request', 'because is not a field'),
  sent(ABORT, { reason: 'x'.repeat(1_000_000) }, 413, 'append_too_large', 'Shorten it'),
  sent(ABORT, { reason: 'No longer needed' }, 200, Aborted),
  sent('POST /api/runs/:ended/abort', '', 409, 'run_ended'),
  sent(
    'POST /api/runs/:running/messages',
    { text: ' ' },
    422,
    'invalid_request',
    'text must not be empty',
  ),
  sent('POST /api/runs/:unknown/messages', { text: 'Hello?' }, 404, 'run_not_found'),
  read('/api/goals', z.array(Goal).length(GOALS.length)),
  read('/health/live', z.strictObject({ status: z.literal('ok') })),
  read('/health/ready', Ready),
  refused('GET /api/ws/:running', 426, 'upgrade_required'),
  // These answers do not belong to an operation, so the description does not have them.
  refused('GET /nothing/here', 404, 'not_found'),
  sent('POST /api/nothing', {}, 404, 'not_found'),
  refused('GET /%zz', 404, 'not_found'),
  refused('DELETE /api/runs', 405, 'method_not_allowed', 'GET, HEAD, POST'),
  refused('PUT /api/runs/:ended', 405, 'method_not_allowed', 'GET, HEAD'),
  refused('GET /api/runs/:ended/abort', 405, 'method_not_allowed', 'POST'),
]

const send = async (server: TestServer, { line, body, headers = {} }: Case) => {
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

test.for(cases.map((item) => [`${item.line} → ${item.status}`, item] as const))(
  '%s',
  async ([_, item], { server }) => {
    const { status, headers, body } = await send(server, item)
    expect([status, body]).toEqual([item.status, expect.anything()])
    check(item, headers, body)
    if (status === 405) expect(headers.allow).toBe(item.says)
  },
)

function check({ answer, says, line }: Case, headers: Record<string, unknown>, body: string): void {
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
  expect(problem.detail).toContain(says)
  expect(problem.detail).toMatch(/\.$/)
  expect(problem.instance).toMatch(line.includes(':') ? /^\/api\// : line.slice(line.indexOf('/')))
}
