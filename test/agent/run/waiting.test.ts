import { expect, test } from 'vitest'
import type { Fault, Script } from '../../../examples/scripted-model/script.ts'
import { modelWait, type RunState, statusOf } from '../../../src/domain/state.ts'
import { load } from '../../../src/log/run-log.ts'
import { only, reachGoal, Workshop } from '../support.ts'

const AWAY: Fault = { status: 503 }
/** More than the attempts of a step. */
const MANY = 9
/** Longer than a test. */
const LONG: readonly [number, number] = [600_000, 600_000]

async function stateOf(shop: Workshop, runId: string): Promise<RunState> {
  const run = (await load(shop.store, runId))._unsafeUnwrap()
  if (run === null) throw new Error('there is no such run')
  return run.state
}

const awayFor = (faults: Fault[]): Script => [{ first: faults, calls: [reachGoal] }]

test('a model that is away is waited for, and the run shows for what and since when', async () => {
  await using shop = await Workshop.open(awayFor(Array(MANY).fill(AWAY)))
  shop.startAgent()
  const runId = await shop.create()
  const first = only(await shop.until(runId, 'llm_retry'), 'llm_retry')
  const records = await shop.until(runId, 'run_end')
  expect(records.filter(({ kind }) => kind === 'llm_retry')).toHaveLength(MANY)
  expect(only(records, 'run_end').payload.status).toBe('achieved')
  expect(modelWait(await stateOf(shop, runId))).toBeNull()
  expect(first.payload.failure).toBe('overloaded')
})

test('what a run waits for, since when, and its next try survive a restart in the wait', async () => {
  let isAway = true
  await using shop = await Workshop.open(() => (isAway ? AWAY : { calls: [reachGoal] }))
  const before = shop.startAgent({ effects: { modelRetryMs: LONG } })
  const runId = await shop.create()
  const retry = only(await shop.until(runId, 'llm_retry'), 'llm_retry')
  const waiting = {
    what: retry.payload.reason,
    since: retry.ts,
    nextTry: retry.ts + retry.payload.delay_ms / 1_000,
  }
  expect(modelWait(await stateOf(shop, runId))).toEqual(waiting)
  await before.stop()
  const between = shop.startAgent({ unfinished: [runId], effects: { modelRetryMs: LONG } })
  const after = await shop.until(runId, 'llm_retry', (await shop.records(runId)).length - 1)
  expect(after.at(-1)?.payload).toMatchObject({ attempt: 2 })
  expect(modelWait(await stateOf(shop, runId))?.since).toBe(retry.ts)
  await between.stop()
  isAway = false
  shop.startAgent({ unfinished: [runId], effects: { modelRetryMs: LONG } })
  expect(only(await shop.until(runId, 'run_end'), 'run_end').payload.achieved).toBe(true)
})

test('a quota that is used up is waited for, unless the run has another model', async () => {
  const spent: Fault = {
    status: 429,
    body: { error: { message: 'No.', code: 'insufficient_quota' } },
  }
  await using shop = await Workshop.open(({ model, turn }) =>
    model === 'spent' ? spent : turn === 0 ? { calls: [reachGoal] } : { text: 'Done.' },
  )
  shop.startAgent({ effects: { modelRetryMs: LONG } })
  const alone = await shop.create({ model_name: 'spent' })
  const retry = only(await shop.until(alone, 'llm_retry'), 'llm_retry')
  expect(retry.payload).toMatchObject({ failure: 'rate_limited', attempt: 1 })
  const other = await shop.create({ model_name: 'spent', fallback_models: ['sound'] })
  const switched = only(await shop.until(other, 'run_end'), 'llm_retry')
  expect(switched.payload).toMatchObject({ attempt: 1, delay_ms: 0, fallback: { to: 'sound' } })
})

test('what people change and say during a wait is tried at once', async () => {
  await using shop = await Workshop.open(({ model }) =>
    model === 'away' ? AWAY : { calls: [reachGoal] },
  )
  shop.startAgent({ effects: { modelRetryMs: LONG } })
  const runId = await shop.create({ model_name: 'away' })
  const first = await shop.until(runId, 'llm_retry')
  await shop.command(runId, { type: 'send_message', text: 'Look twice.' })
  const second = await shop.until(runId, 'llm_retry', first.length - 1)
  expect(JSON.stringify(shop.requests[1]?.messages)).toContain('Look twice.')
  expect(second.at(-1)?.payload).toMatchObject({ attempt: 2 })
  await shop.command(runId, { type: 'configure', changes: { model_name: 'sound' } })
  expect(only(await shop.until(runId, 'run_end'), 'run_end').payload.achieved).toBe(true)
})

test('an abort ends the wait, and so does the limit of time of the run', async () => {
  await using shop = await Workshop.open(() => AWAY)
  const supervisor = shop.startAgent({ effects: { modelRetryMs: LONG } })
  const aborted = await shop.create()
  const limited = await shop.create({ max_seconds: 1 })
  await shop.until(aborted, 'llm_retry')
  await shop.command(aborted, { type: 'abort', reason: null })
  const end = only(await shop.until(limited, 'run_end'), 'run_end')
  expect(end.payload.reason).toContain('max_seconds')
  await supervisor.stop()
  expect(shop.requests).toHaveLength((await shop.records(limited)).filter(isRetry).length + 1)
})
const isRetry = ({ kind }: { kind: string }) => kind === 'llm_retry'

test('a run that waits for its turn is queued, and its reason names the limit', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  await using shop = await Workshop.open(async () => {
    await promise
    return { calls: [reachGoal] }
  })
  shop.startAgent({ maxRunsAtWork: 1 })
  const first = await shop.create()
  await shop.until(first, 'run_claimed')
  const second = await shop.create()
  const queued = only(await shop.until(second, 'run_queued'), 'run_queued')
  expect(queued.payload.reason).toContain('one run is at work')
  expect(statusOf(await stateOf(shop, second))).toBe('queued')
  expect(statusOf(await stateOf(shop, first))).toBe('running')
  resolve()
  const records = await shop.until(second, 'run_end')
  only(records, 'run_queued')
})
