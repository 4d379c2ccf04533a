import { expect } from 'vitest'
import * as z from 'zod'
import { RunDetails, RunSummary } from '../../../src/api/runs.ts'
import { ask, problem, recordsOf } from '../../support/requests.ts'
import { CLAIM, iteration, json, type TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'

const OTHER = '550e8400-e29b-41d4-a716-446655440000'

const details = async (server: TestServer, runId: string) =>
  RunDetails.parse((await ask(server, `GET /api/runs/${runId}`)).body)

test('finds a run at its Location as soon as it is created, and records the request and who sent it', async ({
  server,
}) => {
  const body = { goal: 'pytest', max_seconds: 60, reason: 'The nightly build is red' }
  const { headers, body: answer } = await ask(server, 'POST /api/runs', body)
  const runId = String(answer.run_id)
  expect(headers.get('location')).toBe(`/api/runs/${runId}`)
  expect(await details(server, runId)).toMatchObject({
    run_id: runId,
    goal: 'pytest',
    status: 'running',
    cwd: '/',
    final_state: null,
    model_name: 'claude-sonnet-4-6',
    max_iterations: 20,
    max_tokens: null,
    max_seconds: 60,
    progress: { iteration: 0, total_tokens: 0, seq: 0, waiting_for: null },
  })
  const [created] = await recordsOf(server, runId)
  const { reason, ...asked } = body
  expect(created?.record.payload).toMatchObject({
    reason,
    config: asked,
    system_prompt: 'Mend it.',
  })
  expect(created?.record.payload).not.toHaveProperty('config.reason')
  expect(created?.meta.principal).toBe('local')
})

const goal = 'pytest'
test.for([
  [
    { goal, max_iterations: 0, hitl_enabled: 'yes', extra: 1 },
    { max_iterations: 'must be more than 0', hitl_enabled: 'must be', extra: 'is not a field' },
  ],
  [
    { goal: 'nope', cwd: '/no/folder' },
    { goal: 'There is no goal "nope".', cwd: 'does not exist' },
  ],
  [{ check: 'make' }, { check: 'check must be a JSON object.' }],
  [
    { check: { command: 'x', conditions: { exit_code: 0, code: 1 } } },
    { 'check.conditions.code': 'check.conditions.code is not a field of this request.' },
  ],
  [{ goal, isolation: 'uid' }, { isolation: '"namespaces" or "landlock" or "none".' }],
] as const)('names all that is not valid in %j', async ([body, wrong], { server }) => {
  const { status, body: answer } = await ask(server, 'POST /api/runs', body)
  expect(status).toBe(422)
  const errors = answer.errors as { field: string; message: string }[]
  expect(Object.fromEntries(errors.map(({ field, message }) => [field, message]))).toEqual(
    Object.fromEntries(
      Object.entries(wrong).map(([field, says]) => [field, expect.stringContaining(says)]),
    ),
  )
  for (const { message } of errors) expect(answer.detail).toContain(message)
})

test('lists the goals that fit a folder, and refuses a folder that runs may not use', async ({
  server,
}) => {
  expect((await ask(server, 'GET /api/goals?cwd=/')).body).toMatchObject([{ name: 'npm-test' }])
  expect(await ask(server, 'GET /api/goals?cwd=/no/folder')).toMatchObject({
    status: 422,
    body: { errors: [{ field: 'cwd', message: '/no/folder does not exist.' }] },
  })
})

test('answers 304 until the run changes', async ({ server }) => {
  const path = `/api/runs/${await server.createRun()}`
  const etag = (await ask(server, `GET ${path}`)).headers.get('etag') ?? ''
  expect(etag).toBe('"0"')
  const given = async (known: string) => {
    const read = await ask(server, `GET ${path}`, undefined, { 'if-none-match': known })
    return [read.status, read.headers.get('etag')]
  }
  for (const known of [etag, `W/${etag}`, `"7", ${etag}`]) {
    expect(await given(known)).toEqual([304, etag])
  }
  const changed = await ask(server, `PATCH ${path}/config`, { max_iterations: 5 })
  expect(changed.status).toBe(200)
  expect(await given(etag)).toEqual([200, '"1"'])
})

test('lets a person answer a human check, and records the hash of the question, whatever comes after it', async ({
  server,
}) => {
  const runId = await server.createRun({ hitl_enabled: true }, CLAIM, ...iteration(false))
  const question = (await recordsOf(server, runId)).at(-1)
  const { kind } = question?.record ?? {}
  expect(kind).toBe('human_check_required')
  await server.readModel.waitFor(runId, question?.seq ?? 0, 5000)
  const { status, progress } = await details(server, runId)
  expect([status, progress.waiting_for?.seq]).toEqual(['awaiting_human', question?.seq])

  const resume = (body: object) => ask(server, `POST /api/runs/${runId}/resume`, body)
  expect((await resume({ decision: 'abort', seq: 1 })).status).toBe(409)
  const change = { max_iterations: 5, reason: 'two more' }
  expect((await ask(server, `PATCH /api/runs/${runId}/config`, change)).status).toBe(200)
  const decision = { decision: 'approve', reason: 'Looks right' }
  expect(await resume({ ...decision, seq: question?.seq })).toMatchObject({
    status: 200,
    body: { run_id: runId, status: 'running', resumed_with: 'approve' },
  })
  const [changed, answer] = (await recordsOf(server, runId)).slice(-2)
  expect(changed?.record.payload).toEqual({ changes: { max_iterations: 5 }, reason: 'two more' })
  expect(answer?.record.payload).toMatchObject({
    ...decision,
    answers: question?.seq,
    shown_sha256: question?.meta.hash,
  })
  expect(answer?.meta.principal).toBe('local')
})

test.for([
  ['no body', { method: 'POST' }],
  ['no body that is said to be JSON', { ...json('POST', 0), body: '' }],
  ['a reason', json('POST', { reason: 'Too dear' })],
] as const)('aborts a run, given %s', async ([_, request], { server, runId }) => {
  const answer = await fetch(`${server.url}/api/runs/${runId}/abort`, request)
  expect([answer.status, await answer.json()]).toEqual([200, { run_id: runId, status: 'aborted' }])
  expect((await details(server, runId)).status).toBe('aborted')
})

test('records the last record that a person has seen, and refuses a decision on another history', async ({
  server,
}) => {
  const runId = await server.createRun({ hitl_enabled: true }, CLAIM, ...iteration(false))
  const records = await recordsOf(server, runId)
  const first = records[0]
  const last = records.at(-1)
  const seenIn = (record: typeof first) => ({ seq: record?.seq, hash: record?.meta.hash })
  const requests = [
    [`PATCH /api/runs/${runId}/config`, { max_iterations: 7 }],
    [`POST /api/runs/${runId}/resume`, { decision: 'approve', seq: last?.seq }],
    [`POST /api/runs/${runId}/abort`, {}],
  ] as const
  for (const [line, body] of requests) {
    for (const seq of [0, 1_000_000]) {
      const seen = { seq, hash: last?.meta.hash }
      const refused = await ask(server, line, { ...body, seen })
      expect(refused).toMatchObject({ status: 409, body: problem('seen_otherwise') })
    }
  }
  expect(await recordsOf(server, runId)).toHaveLength(records.length)
  for (const [line, body] of requests) {
    const seen = seenIn(line.endsWith('abort') ? last : first)
    expect((await ask(server, line, { ...body, seen })).status).toBe(200)
    expect((await recordsOf(server, runId)).at(-1)?.record.payload).toMatchObject({ seen })
  }
})

const idsOf = async (server: TestServer, query: string) =>
  z
    .array(RunSummary.strict())
    .parse((await ask(server, `GET /api/runs?${query}`)).body)
    .map(({ run_id }) => run_id)

test('lists a run with what people find it by, and finds it by each of that', async ({
  server,
}) => {
  const instructions = '\n  Repair the Übung parser\nand its tests'
  const tags = ['release', 'odd "tag"', 'release']
  const runId = await server.createRun({ instructions, tags, model_name: 'gpt-5-mini', cwd: '/' })
  const other = await server.createRun({ tags: ['release'] })
  const { body } = await ask<{ created_at: string }[]>(server, 'GET /api/runs?q=übung')
  expect(body).toMatchObject([
    {
      run_id: runId,
      title: 'Repair the Übung parser',
      project: '',
      cwd: '/',
      model_name: 'gpt-5-mini',
      principal: 'local',
      tags: ['release', 'odd "tag"'],
      verdict: null,
      iteration: 0,
      subagents: 0,
      updated_at: body[0]?.created_at,
    },
  ])
  for (const [query, ids] of [
    ['q=ÜBUNG', [runId]],
    [`q=${runId.slice(0, 8)}`, [runId]],
    ['q=D%20%22T', [runId]],
    ['tag=odd%20%22tag%22&tag=release', [runId]],
    ['model=gpt-5-mini&status=running&status=failed&top=true', [runId]],
    ['tag=release&order=asc', [runId, other]],
    ['tag=release&from=2100-01-01T00:00:00Z', []],
    ['tag=release&principal=nobody', []],
  ] as const) {
    expect([query, await idsOf(server, query)]).toEqual([query, ids])
  }
})

test('refuses a query that it does not know, and a cursor of another one', async ({ server }) => {
  await server.createRun()
  await server.createRun()
  const { headers } = await ask(server, 'GET /api/runs?limit=1&sort=updated')
  const next = /<([^>]+)>/.exec(headers.get('link') ?? '')?.[1] ?? ''
  expect((await ask(server, `GET ${next}`)).status).toBe(200)
  const wrong = ['sort=size', 'status=done', 'from=yesterday', 'min_cost_usd=x', 'q=', 'top=1']
  for (const path of [
    next.replace('sort=updated', 'sort=cost'),
    ...wrong.map((query) => `/api/runs?${query}`),
  ]) {
    expect([path, (await ask(server, `GET ${path}`)).status]).toEqual([path, 422])
  }
})

test('tags belong to a run, and can be changed at any time, also after its end', async ({
  server,
}) => {
  const runId = await server.createRun({ tags: ['early'] })
  const tag = (body: object) => ask(server, `PATCH /api/runs/${runId}/config`, body)
  const early = await ask(server, `GET /api/runs/${runId}`)
  await ask(server, `POST /api/runs/${runId}/abort`, {})
  const records = (await recordsOf(server, runId)).length
  const changed = await tag({ tags: ['late', 'late', 'kept'], reason: 'For the audit' })
  expect(changed.body.tags).toEqual(['late', 'kept'])
  expect(await recordsOf(server, runId)).toHaveLength(records)
  expect(await idsOf(server, 'tag=late')).toEqual([runId])
  expect(await idsOf(server, 'tag=early')).toEqual([])
  expect((await details(server, runId)).tags).toEqual(['late', 'kept'])
  const now = await ask(server, `GET /api/runs/${runId}`)
  const known = { 'if-none-match': now.headers.get('etag') ?? '' }
  const again = () => ask(server, `GET /api/runs/${runId}`, undefined, known)
  expect((await again()).status).toBe(304)
  expect((await tag({ tags: [] })).status).toBe(200)
  expect((await again()).status).toBe(200)
  expect(early.headers.get('etag')).not.toBe(known['if-none-match'])
  expect((await tag({ tags: ['x'], max_iterations: 5 })).status).toBe(409)
  for (const tags of [Array(21).fill('x'), [''], ['x'.repeat(65)], ['a\nb']]) {
    expect((await tag({ tags })).status).toBe(422)
    expect((await ask(server, 'POST /api/runs', { goal, tags })).status).toBe(422)
  }
  expect((await ask(server, `PATCH /api/runs/${OTHER}/config`, { tags: [] })).status).toBe(404)
  expect((await ask(server, 'GET /api/ledgers/tags')).text).toContain('For the audit')
})
