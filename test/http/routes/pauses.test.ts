import { expect } from 'vitest'
import type { RunDetails } from '../../../src/api/runs.ts'
import { ask, problem, recordsOf } from '../../support/requests.ts'
import { CLAIM, iteration, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'

const test = testWith({
  changeProblems: async ({ max_tokens }) =>
    max_tokens === 999 ? [{ field: 'max_tokens', message: 'max_tokens must be at most 900.' }] : [],
})

const change = (server: TestServer, runId: string, body: object) =>
  ask(server, `PATCH /api/runs/${runId}/config`, body)
const resume = (server: TestServer, runId: string, body: object) =>
  ask(server, `POST /api/runs/${runId}/resume`, body)

/** A run that has used its only iteration. */
async function pausedRun(server: TestServer, body: object = {}) {
  const runId = await server.createRun(
    { on_limit: 'pause', max_iterations: 1, ...body },
    CLAIM,
    ...iteration(false),
  )
  const seq = (await recordsOf(server, runId)).length - 1
  await server.readModel.waitFor(runId, seq, 5000)
  return { runId, seq }
}

test('a paused run says why in its details and in the list, and a raised limit continues it', async ({
  server,
}) => {
  const { runId, seq } = await pausedRun(server)
  const reason = 'Stopped by max_iterations: the goal was not reached in 1'
  const paused = { by: 'max_iterations', reason, seq }
  expect((await ask(server, `GET /api/runs/${runId}`)).body).toMatchObject({
    status: 'paused',
    on_limit: 'pause',
    paused,
    ended_at: null,
    progress: { waiting_for: { kind: 'run_paused', seq, summary: reason } },
  })
  const listed = await ask(server, 'GET /api/runs?status=paused')
  expect(listed.body).toMatchObject([{ run_id: runId, paused }])
  const raised = await change(server, runId, { max_iterations: 2, reason: 'Again' })
  expect(raised).toMatchObject({ status: 200, body: { status: 'running', max_iterations: 2 } })
  expect(raised.body).not.toHaveProperty('paused')
  const [question, changed, resumed] = (await recordsOf(server, runId)).slice(-3)
  expect(changed?.record.payload).toEqual({ changes: { max_iterations: 2 }, reason: 'Again' })
  expect(resumed?.record).toMatchObject({
    kind: 'run_resumed',
    payload: { reason: 'Again', answers: seq, shown_sha256: question?.meta.hash },
  })
  expect(resumed?.meta.principal).toBe('local')
})

test('an approval at a limit is 409 with its name, an outdated one too, and an abort ends the run', async ({
  server,
}) => {
  const { runId, seq } = await pausedRun(server)
  const approved = await resume(server, runId, { decision: 'approve', seq })
  const detail = expect.stringContaining('Raise max_iterations (PATCH')
  expect(approved).toMatchObject({ status: 409, body: { ...problem('limit_reached'), detail } })
  const stale = await resume(server, runId, { decision: 'abort', seq: 1 })
  expect(stale.body).toMatchObject(problem('stale_decision'))
  const said = await ask(server, `POST /api/runs/${runId}/messages`, { text: 'Wait.' })
  expect(said.body).toMatchObject({ status: 'paused' })
  const aborted = await resume(server, runId, { decision: 'abort', seq, reason: 'Enough' })
  expect(aborted.body).toEqual({ run_id: runId, status: 'aborted', resumed_with: 'abort' })
  const ended = await ask(server, `GET /api/runs/${runId}`)
  expect(ended.body.end_reason).toBe('Enough')
})

test('a limit that is used up, or above that of the server, is 422 with all that is wrong', async ({
  server,
}) => {
  const { runId } = await pausedRun(server)
  const { body } = await ask<RunDetails>(server, `GET /api/runs/${runId}`)
  const before = (await recordsOf(server, runId)).length
  const low = await change(server, runId, { max_iterations: 1, max_tokens: 1 })
  expect(low.status).toBe(422)
  expect(low.body.errors).toEqual([
    {
      field: 'max_iterations',
      message: 'max_iterations is too low: the run has used one iteration.',
    },
    {
      field: 'max_tokens',
      message: `max_tokens is too low: the run has used ${body.progress.total_tokens} tokens.`,
    },
  ])
  for (const changes of [{ max_tokens: 999 }, { max_cost_usd: -1 }]) {
    expect((await change(server, runId, changes)).status).toBe(422)
  }
  expect(await recordsOf(server, runId)).toHaveLength(before)
})
