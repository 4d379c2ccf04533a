import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'
import { ProblemDocument } from '../../../src/api/problems.ts'
import { RunDetails, RunSummary } from '../../../src/api/runs.ts'
import { readRecords } from '../../../src/log/run-log.ts'
import { CLAIM, iteration, json, startTestServer, type TestServer } from '../../support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({
    changeProblems: async ({ max_tokens }) =>
      max_tokens === 999
        ? [{ field: 'max_tokens', message: 'max_tokens must be at most 900.' }]
        : [],
  })
})
afterAll(() => server.stop())

const send = async (path: string, body: unknown, method = 'POST') => {
  const answer = await fetch(`${server.url}/api/runs/${path}`, json(method, body))
  return { status: answer.status, body: await answer.json() }
}
const details = async (runId: string) =>
  RunDetails.parse(await (await fetch(`${server.url}/api/runs/${runId}`)).json())
const logged = async (runId: string) =>
  (await readRecords(server.store, runId, 0, 1000))._unsafeUnwrap()

/** A run that has used its only iteration. */
async function pausedRun(body: object = {}): Promise<{ runId: string; seq: number }> {
  const runId = await server.createRun({ on_limit: 'pause', max_iterations: 1, ...body })
  await server.agentDoes(runId, CLAIM, ...iteration(false))
  const seq = (await logged(runId)).length - 1
  await server.readModel.waitFor(runId, seq, 5000)
  return { runId, seq }
}
const problemOf = ({ body }: { body: unknown }) => ProblemDocument.parse(body)

test('a paused run says why in its details and in the list, and a raised limit continues it', async () => {
  const { runId, seq } = await pausedRun()
  const reason = 'Stopped by max_iterations: the goal was not reached in 1'
  const paused = { by: 'max_iterations', reason, seq }
  expect(await details(runId)).toMatchObject({
    ...{ status: 'paused', on_limit: 'pause', paused, ended_at: null },
    progress: { waiting_for: { kind: 'run_paused', seq, summary: reason } },
  })
  const listed = await (await fetch(`${server.url}/api/runs?status=paused`)).json()
  expect(z.array(RunSummary).parse(listed)).toMatchObject([{ run_id: runId, paused }])
  const raised = await send(`${runId}/config`, { max_iterations: 2, reason: 'Again' }, 'PATCH')
  expect(raised).toMatchObject({ status: 200, body: { status: 'running', max_iterations: 2 } })
  expect(raised.body).not.toHaveProperty('paused')
  const [question, changed, resumed] = (await logged(runId)).slice(-3)
  expect(changed?.record.payload).toEqual({ changes: { max_iterations: 2 }, reason: 'Again' })
  expect(resumed?.record).toMatchObject({
    kind: 'run_resumed',
    payload: { reason: 'Again', answers: seq, shown_sha256: question?.meta.hash },
  })
  expect(resumed?.meta.principal).toBe('local')
})

test('an approval at a limit is 409 with its name, an outdated one too, and an abort ends the run', async () => {
  const { runId, seq } = await pausedRun()
  const approved = await send(`${runId}/resume`, { decision: 'approve', seq })
  expect(approved.status).toBe(409)
  expect(problemOf(approved)).toMatchObject({
    type: 'urn:retrai:problem:limit_reached',
    detail: expect.stringContaining('Raise max_iterations with PATCH'),
  })
  const stale = await send(`${runId}/resume`, { decision: 'abort', seq: 1 })
  expect(problemOf(stale).type).toBe('urn:retrai:problem:stale_decision')
  expect((await send(`${runId}/messages`, { text: 'Wait.' })).body).toMatchObject({
    status: 'paused',
  })
  const aborted = await send(`${runId}/resume`, { decision: 'abort', seq, reason: 'Enough' })
  expect(aborted.body).toEqual({ run_id: runId, status: 'aborted', resumed_with: 'abort' })
  expect((await details(runId)).end_reason).toBe('Enough')
})

test('a limit that is used up, or above that of the server, is 422 with all that is wrong', async () => {
  const { runId } = await pausedRun()
  const { progress } = await details(runId)
  const before = (await logged(runId)).length
  const low = await send(`${runId}/config`, { max_iterations: 1, max_tokens: 1 }, 'PATCH')
  expect(low.status).toBe(422)
  expect(problemOf(low).errors).toEqual([
    {
      field: 'max_iterations',
      message: 'max_iterations is too low: the run has used one iteration.',
    },
    {
      field: 'max_tokens',
      message: `max_tokens is too low: the run has used ${progress.total_tokens} tokens.`,
    },
  ])
  for (const changes of [
    { max_tokens: 999 },
    { max_tokens: 1e13 },
    { max_cost_usd: -1 },
    { max_seconds: 'long' },
  ]) {
    expect((await send(`${runId}/config`, changes, 'PATCH')).status).toBe(422)
  }
  expect(await logged(runId)).toHaveLength(before)
})

test('another limit that is reached too is named next, and a limit can be taken away', async () => {
  const { runId } = await pausedRun({ max_tokens: 1 })
  const still = await send(`${runId}/config`, { max_iterations: 9 }, 'PATCH')
  expect(still.body).toMatchObject({ status: 'paused', paused: { by: 'max_tokens' } })
  const free = await send(`${runId}/config`, { max_tokens: null }, 'PATCH')
  expect(free.body).toMatchObject({ status: 'running', max_tokens: null })
})

test('a fault that pauses a run is approved, whatever is changed before', async () => {
  const runId = await server.createRun({ on_limit: 'pause' })
  await server.agentDoes(runId, CLAIM, { type: 'pause', by: 'provider', reason: 'HTTP 529' })
  const changed = await send(`${runId}/config`, { max_iterations: 9 }, 'PATCH')
  expect(changed.body).toMatchObject({ status: 'paused', paused: { by: 'provider' } })
  const approved = await send(`${runId}/resume`, { decision: 'approve' })
  expect(approved.body).toEqual({ run_id: runId, status: 'running', resumed_with: 'approve' })
})
