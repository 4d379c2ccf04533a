import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'
import { ProblemDocument } from '../../../src/api/problems.ts'
import { RunDetails, RunSummary } from '../../../src/api/runs.ts'
import { readRecords } from '../../../src/log/run-log.ts'
import { CLAIM, iteration, json, startTestServer, type TestServer } from '../../support/server.ts'

const OTHER = '550e8400-e29b-41d4-a716-446655440000'
let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.stop())

const post = async (path: string, body: unknown, method = 'POST') => {
  return fetch(server.url + path, json(method, body))
}
const details = async (runId: string) => {
  return RunDetails.parse(await (await fetch(`${server.url}/api/runs/${runId}`)).json())
}
const logged = async (runId: string) => {
  return (await readRecords(server.store, runId, 0, 1000))._unsafeUnwrap()
}

test('finds a run at its Location as soon as it is created', async () => {
  const created = await post('/api/runs', { goal: 'pytest', max_seconds: 60 })
  const location = created.headers.get('location')
  const { run_id } = z.object({ run_id: z.string() }).parse(await created.json())
  expect(location).toBe(`/api/runs/${run_id}`)
  const found = RunDetails.parse(await (await fetch(`${server.url}${location}`)).json())
  expect(found).toMatchObject({
    run_id,
    goal: 'pytest',
    status: 'running',
    model_name: 'claude-sonnet-4-6',
    max_iterations: 20,
    hitl_enabled: false,
    cwd: '/',
    error: null,
    final_state: null,
    ended_at: null,
    end_reason: null,
    max_cost_usd: null,
    max_tokens: null,
    max_seconds: 60,
    progress: { iteration: 0, total_tokens: 0, seq: 0, waiting_for: null },
  })
})

test('records the whole request, and who sent it', async () => {
  const runId = await server.createRun({ max_tokens: 1000 })
  const [created] = await logged(runId)
  expect(created?.record).toMatchObject({
    kind: 'run_created',
    payload: { config: { goal: 'pytest', max_tokens: 1000 }, system_prompt: 'Mend it.' },
  })
  expect(created?.meta.principal).toBe('local')
})

test('names all fields that are not valid at once', async () => {
  const body = { goal: 'pytest', max_iterations: 0, hitl_enabled: 'yes', extra: 1 }
  const answer = await post('/api/runs', body)
  expect(answer.status).toBe(422)
  const problem = ProblemDocument.parse(await answer.json())
  expect(problem.errors?.map(({ field }) => field).sort()).toEqual([
    ...['extra', 'hitl_enabled', 'max_iterations'],
  ])
  for (const { message } of problem.errors ?? []) expect(problem.detail).toContain(message)
})

test('reports the problems that only the agent knows of a well-formed request', async () => {
  const answer = await post('/api/runs', { goal: 'nope', cwd: '/no/folder' })
  expect(answer.status).toBe(422)
  const problem = ProblemDocument.parse(await answer.json())
  expect(problem.errors).toContainEqual({
    field: 'goal',
    message: 'There is no goal "nope". Choose one of: pytest, npm-test.',
  })
  expect(problem.errors?.map(({ field }) => field).sort()).toEqual(['cwd', 'goal'])
})

test.each([
  ['a check that is no object', { check: 'make' }, 'check', 'check must be a JSON object.'],
  [
    'a condition that there is not',
    { check: { command: 'x', conditions: { exit_code: 0, code: 1 } } },
    'check.conditions.code',
    'check.conditions.code is not a field of this request.',
  ],
  [
    'a level that there is not any more',
    { goal: 'pytest', isolation: 'uid' },
    'isolation',
    'isolation must be "namespaces" or "landlock" or "none".',
  ],
])('refuses %s, and names the field', async (_what, body, field, message) => {
  const answer = await post('/api/runs', body)
  expect(answer.status).toBe(422)
  expect(ProblemDocument.parse(await answer.json()).errors).toEqual([{ field, message }])
})

test('lists the goals that fit a folder, and refuses a folder that runs may not use', async () => {
  const fitting = await fetch(`${server.url}/api/goals?cwd=/`)
  expect(await fitting.json()).toMatchObject([{ name: 'npm-test' }])
  const refused = await fetch(`${server.url}/api/goals?cwd=/no/folder`)
  expect(refused.status).toBe(422)
  expect(ProblemDocument.parse(await refused.json()).errors).toEqual([
    { field: 'cwd', message: '/no/folder does not exist.' },
  ])
})

test('lists runs page by page, newest first, along the Link header', async () => {
  const made: string[] = []
  for (let i = 0; i < 5; i += 1) made.push(await server.createRun({ goal: 'npm-test' }))
  const listed: string[] = []
  let path: string | undefined = '/api/runs?goal=npm-test&status=running&limit=2'
  let pages = 0
  while (path !== undefined) {
    const answer: Response = await fetch(server.url + path)
    const page = z.array(RunSummary).parse(await answer.json())
    listed.push(...page.map(({ run_id }) => run_id))
    pages += 1
    path = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1]
  }
  expect(pages).toBe(3)
  expect(new Set(listed)).toEqual(new Set(made))
  expect(listed).toHaveLength(5)
})

test('answers 304 until the run changes', async () => {
  const runId = await server.createRun()
  const path = `${server.url}/api/runs/${runId}`
  const etag = (await fetch(path)).headers.get('etag') ?? ''
  expect(etag).toBe('"0"')
  for (const known of [etag, `W/${etag}`, `"7", ${etag}`]) {
    const unchanged = await fetch(path, { headers: { 'if-none-match': known } })
    expect([unchanged.status, unchanged.headers.get('etag')]).toEqual([304, etag])
  }
  const changed = await post(`/api/runs/${runId}/config`, { max_iterations: 5 }, 'PATCH')
  expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"1"'])
  const read = await fetch(path, { headers: { 'if-none-match': etag } })
  expect([read.status, read.headers.get('etag')]).toEqual([200, '"1"'])
})

test('lets a person answer a human check', async () => {
  const runId = await server.createRun({ hitl_enabled: true })
  await server.agentDoes(runId, CLAIM, ...iteration(false))
  const waiting = (await logged(runId)).at(-1)
  expect(waiting?.record.kind).toBe('human_check_required')
  await server.readModel.waitFor(runId, waiting?.seq ?? 0, 5000)
  const { status, progress } = await details(runId)
  expect([status, progress.waiting_for?.seq]).toEqual(['awaiting_human', waiting?.seq])

  const stale = await post(`/api/runs/${runId}/resume`, { decision: 'abort', seq: 1 })
  expect(stale.status).toBe(409)
  const answer = await post(`/api/runs/${runId}/resume`, {
    decision: 'approve',
    reason: 'Looks right',
    seq: waiting?.seq,
  })
  expect(answer.status).toBe(200)
  expect(await answer.json()).toEqual({
    run_id: runId,
    status: 'running',
    resumed_with: 'approve',
  })
  const response = (await logged(runId)).at(-1)
  expect(response?.record.payload).toMatchObject({
    decision: 'approve',
    reason: 'Looks right',
    answers: waiting?.seq,
  })
  expect(response?.meta.principal).toBe('local')
  expect((await details(runId)).status).toBe('running')
})

test('ends a run if a person decides to abort', async () => {
  const runId = await server.createRun({ hitl_enabled: true })
  await server.agentDoes(runId, CLAIM, ...iteration(false))
  const answer = await post(`/api/runs/${runId}/resume`, { decision: 'abort' })
  expect(await answer.json()).toEqual({ run_id: runId, status: 'aborted', resumed_with: 'abort' })
  const { status, final_state } = await details(runId)
  expect([status, final_state?.iteration]).toEqual(['aborted', 1])
})

test.each([
  ['no body', { method: 'POST' }],
  ['no body that is said to be JSON', { ...json('POST', 0), body: '' }],
  ['a reason', json('POST', { reason: 'Too dear' })],
])('aborts a run, given %s', async (_, request) => {
  const runId = await server.createRun()
  const answer = await fetch(`${server.url}/api/runs/${runId}/abort`, request)
  expect([answer.status, await answer.json()]).toEqual([200, { run_id: runId, status: 'aborted' }])
  expect((await details(runId)).status).toBe('aborted')
  expect((await logged(runId)).at(-1)?.record.kind).toBe('run_end')
})

test('accepts one of many decisions at the same time', async () => {
  const runId = await server.createRun({ hitl_enabled: true })
  await server.agentDoes(runId, CLAIM, ...iteration(false))
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => post(`/api/runs/${runId}/resume`, { decision: 'approve' })),
  )
  const statuses = answers.map(({ status }) => status).sort()
  expect(statuses).toEqual([200, ...Array(7).fill(409)])
})

test('records the reason of a start beside the configuration of the run', async () => {
  const runId = await server.createRun({ reason: 'The nightly build is red' })
  const [created] = await logged(runId)
  expect(created?.record.payload).toMatchObject({ reason: 'The nightly build is red' })
  expect(created?.record.payload).not.toHaveProperty('config.reason')
})

test('records the hash of the question that was answered, whatever comes after it', async () => {
  const runId = await server.createRun({ hitl_enabled: true })
  await server.agentDoes(runId, CLAIM, ...iteration(false))
  const question = (await logged(runId)).at(-1)
  const change = { max_iterations: 5, reason: 'two more' }
  expect((await post(`/api/runs/${runId}/config`, change, 'PATCH')).status).toBe(200)
  expect((await post(`/api/runs/${runId}/resume`, { decision: 'approve' })).status).toBe(200)
  const [changed, answer] = (await logged(runId)).slice(-2)
  expect(changed?.record.payload).toEqual({ changes: { max_iterations: 5 }, reason: 'two more' })
  expect(question?.record.kind).toBe('human_check_required')
  expect(answer?.record.payload).toMatchObject({
    answers: question?.seq,
    shown_sha256: question?.meta.hash,
  })
})

test('records the last record that a person has seen, and refuses a decision on another history', async () => {
  const runId = await server.createRun({ hitl_enabled: true })
  await server.agentDoes(runId, CLAIM, ...iteration(false))
  const records = await logged(runId)
  const [first, last] = [records[0], records.at(-1)]
  const seenIn = (record: typeof first) => ({ seq: record?.seq, hash: record?.meta.hash })
  const requests = [
    ['config', { max_iterations: 7 }, 'PATCH'],
    ['resume', { decision: 'approve', seq: last?.seq }, 'POST'],
    ['abort', {}, 'POST'],
  ] as const
  for (const [what, body, method] of requests) {
    for (const wrong of [
      { ...seenIn(first), hash: last?.meta.hash },
      { seq: 1_000_000, hash: last?.meta.hash },
    ]) {
      const path = `/api/runs/${runId}/${what}`
      const refused = await post(path, { ...body, seen: wrong }, method)
      expect([refused.status, ProblemDocument.parse(await refused.json()).type]).toEqual([
        409,
        'urn:retrai:problem:seen_otherwise',
      ])
    }
  }
  expect(await logged(runId)).toHaveLength(records.length)
  for (const [what, body, method] of requests) {
    const path = `/api/runs/${runId}/${what}`
    const seen = seenIn(what === 'abort' ? last : first)
    expect((await post(path, { ...body, seen }, method)).status).toBe(200)
    expect((await logged(runId)).at(-1)?.record.payload).toMatchObject({ seen })
  }
})

const rowsOf = async (query: string) => {
  const answer = await fetch(`${server.url}/api/runs?${query}`)
  return { status: answer.status, link: answer.headers.get('link'), rows: await answer.json() }
}
const idsOf = async (query: string) =>
  z
    .array(RunSummary.strict())
    .parse((await rowsOf(query)).rows)
    .map(({ run_id }) => run_id)

test('lists a run with what people find it by, and finds it by each of that', async () => {
  const instructions = '\n  Repair the Übung parser\nand its tests'
  const tags = ['release', 'odd "tag"', 'release']
  const runId = await server.createRun({ instructions, tags, model_name: 'gpt-5-mini', cwd: '/' })
  const other = await server.createRun({ tags: ['release'] })
  const [row] = z.array(RunSummary).parse((await rowsOf('q=übung')).rows)
  expect(row).toMatchObject({
    ...{ run_id: runId, title: 'Repair the Übung parser', project: '', cwd: '/' },
    ...{ model_name: 'gpt-5-mini', principal: 'local', tags: ['release', 'odd "tag"'] },
    ...{ verdict: null, iteration: 0, subagents: 0, updated_at: row?.created_at },
  })
  const found = [
    'q=ÜBUNG',
    `q=${runId.slice(0, 8)}`,
    'q=D%20%22T',
    'tag=odd%20%22tag%22&tag=release',
  ]
  for (const query of [...found, 'model=gpt-5-mini&status=running&status=failed&top=true']) {
    expect(await idsOf(query), query).toEqual([runId])
  }
  expect(await idsOf('tag=release&order=asc')).toEqual([runId, other])
  expect(await idsOf('tag=release&from=2100-01-01T00:00:00Z')).toEqual([])
  expect(await idsOf('tag=release&principal=nobody')).toEqual([])
})

test('refuses a query that it does not know, and a cursor of another one', async () => {
  await server.createRun()
  await server.createRun()
  const { link } = await rowsOf('limit=1&sort=updated')
  const next = new URL(/<([^>]+)>/.exec(link ?? '')?.[1] ?? '', server.url)
  expect((await fetch(next)).status).toBe(200)
  next.searchParams.set('sort', 'cost')
  expect((await fetch(next)).status).toBe(422)
  for (const query of [
    'sort=size',
    'status=done',
    'from=yesterday',
    'min_cost_usd=x',
    'q=',
    'top=1',
  ]) {
    expect((await rowsOf(query)).status, query).toBe(422)
  }
})

test('tags belong to a run, and can be changed at any time, also after its end', async () => {
  const runId = await server.createRun({ tags: ['early'] })
  const tag = (body: object) => post(`/api/runs/${runId}/config`, body, 'PATCH')
  const early = await fetch(`${server.url}/api/runs/${runId}`)
  await post(`/api/runs/${runId}/abort`, {})
  const records = (await logged(runId)).length
  const changed = await tag({ tags: ['late', 'late', 'kept'], reason: 'For the audit' })
  expect(RunDetails.parse(await changed.json()).tags).toEqual(['late', 'kept'])
  expect((await logged(runId)).length).toBe(records)
  expect(await idsOf('tag=late')).toEqual([runId])
  expect(await idsOf('tag=early')).toEqual([])
  expect((await details(runId)).tags).toEqual(['late', 'kept'])
  const headers = { 'if-none-match': changed.headers.get('etag') ?? '' }
  const again = () => fetch(`${server.url}/api/runs/${runId}`, { headers })
  expect((await again()).status).toBe(304)
  expect((await tag({ tags: [] })).status).toBe(200)
  expect((await again()).status).toBe(200)
  expect(early.headers.get('etag')).not.toBe(headers['if-none-match'])
  expect((await tag({ tags: ['x'], max_iterations: 5 })).status).toBe(409)
  for (const tags of [Array(21).fill('x'), [''], ['x'.repeat(65)], ['a\nb']]) {
    expect((await tag({ tags })).status).toBe(422)
    expect((await post('/api/runs', { goal: 'pytest', tags })).status).toBe(422)
  }
  expect((await post(`/api/runs/${OTHER}/config`, { tags: [] }, 'PATCH')).status).toBe(404)
  const ledger = await (await fetch(`${server.url}/api/ledgers/tags`)).text()
  expect(ledger).toContain('For the audit')
})
