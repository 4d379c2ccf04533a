import { expect, test } from 'vitest'
import type { Fault, Script } from '../../../examples/scripted-model/script.ts'
import type { PersonCommand } from '../../../src/domain/commands.ts'
import { sumUsd } from '../../../src/domain/evolve-turns.ts'
import type { Kind } from '../../../src/domain/records.ts'
import { only, payloadsOf, pricedModels, reachGoal, Workshop } from '../support.ts'

const work = (turn: number) => ({ tool: 'bash_exec', args: { command: `touch ${turn}` } })
/** Reaches the goal in its ninth turn. */
const slow: Script = ({ turn }) => ({ calls: [turn < 8 ? work(turn) : reachGoal] })
const PAUSING = { on_limit: 'pause', max_turns_per_iteration: 3 } as const

const configure = (changes: object): PersonCommand => ({
  type: 'configure',
  changes,
  reason: 'More',
})
const approve: PersonCommand = {
  type: 'respond',
  decision: 'approve',
  reason: null,
  answers: null,
}
const countOf = (records: readonly { kind: Kind }[], kind: Kind): number =>
  records.filter((record) => record.kind === kind).length

test('a budget that is reached, raised and reached again is kept, and the run finishes with the exact sum', async () => {
  await using shop = await Workshop.open(slow)
  shop.startAgent({ effects: { models: pricedModels(shop.url) } })
  const runId = await shop.create({ ...PAUSING, max_cost_usd: 0.5 })
  const first = await shop.until(runId, 'run_paused')
  expect(payloadsOf(first, 'run_paused')).toEqual([
    {
      by: 'max_cost_usd',
      reason: expect.stringMatching(/\$0\.\d+ of \$0\.5 are spent, and the next request may cost/),
    },
  ])
  const sent = shop.requests.length
  expect(sent).toBeGreaterThan(1)
  await shop.command(runId, configure({ max_cost_usd: 0.5001 }))
  const second = await shop.until(runId, 'run_paused', first.length)
  expect(shop.requests).toHaveLength(sent)
  const before = shop.requests.at(-1)?.messages ?? []
  await shop.command(runId, configure({ max_cost_usd: 9 }))
  const records = await shop.until(runId, 'run_end')
  const costs = payloadsOf(records, 'llm_usage').map(({ cost_usd }) => cost_usd)
  const end = only(records, 'run_end').payload
  expect(end).toMatchObject({ status: 'achieved', estimated_cost_usd: costs.reduce(sumUsd, 0) })
  expect(shop.requests).toHaveLength(costs.length)
  expect(countOf(records, 'run_summary')).toBe(0)
  expect(payloadsOf(records, 'run_resumed').map(({ answers }) => answers)).toEqual([
    first.length - 1,
    second.length - 1,
  ])
  // The next request holds what the one before the pause held, and what its reply led to.
  expect(shop.requests[sent]?.messages.slice(0, before.length)).toEqual(before)
  expect(shop.requests[sent]?.messages).toHaveLength(before.length + 2)
})

test('a paused run leaves its turn to others, keeps messages, and continues in a server that was started meanwhile', async () => {
  await using shop = await Workshop.open(slow)
  const agent = shop.startAgent({ maxRunsAtWork: 1 })
  const runId = await shop.create({ ...PAUSING, max_iterations: 1 })
  const paused = await shop.until(runId, 'run_paused')
  expect(paused.at(-1)?.payload).toMatchObject({ by: 'max_iterations' })
  const other = await shop.create({ ...PAUSING, max_iterations: 1 })
  await shop.until(other, 'run_paused')
  await shop.command(runId, { type: 'send_message', text: 'Look twice.' })
  await agent.stop()
  const sent = shop.requests.length
  const between = shop.startAgent({ unfinished: [runId] })
  await shop.until(runId, 'run_claimed', paused.length)
  expect(shop.requests).toHaveLength(sent)
  await between.stop()
  await shop.command(runId, configure({ max_iterations: 9 }))
  shop.startAgent({ unfinished: [runId] })
  const records = await shop.until(runId, 'run_end')
  expect(only(records, 'run_end').payload.status).toBe('achieved')
  expect(JSON.stringify(shop.requests[sent]?.messages)).toContain('Look twice.')
  expect(countOf(records, 'goal_check')).toBe(4)
})

const AWAY: Fault = { status: 503 }

test('an outage of an hour pauses the run, which continues where it was when a person lets it', async () => {
  let isAway = true
  await using shop = await Workshop.open(() => {
    // Twenty minutes pass before each attempt.
    shop.ahead += 1_200
    return isAway ? AWAY : { calls: [reachGoal] }
  })
  shop.startAgent()
  const runId = await shop.create(PAUSING)
  const records = await shop.until(runId, 'run_paused')
  const failed = countOf(records, 'llm_retry')
  expect(failed).toBeGreaterThanOrEqual(3)
  expect(only(records, 'run_paused').payload).toEqual({
    by: 'provider',
    reason: expect.stringMatching(/503.*\(attempt \d of 4\)$/s),
  })
  isAway = false
  await shop.command(runId, approve)
  const after = await shop.until(runId, 'run_end')
  expect(only(after, 'run_end').payload.status).toBe('achieved')
  expect(countOf(after, 'llm_retry')).toBe(failed)
})

test('a limit of time that is reached in an outage names the provider, and a run that should end fails after a day', async () => {
  await using shop = await Workshop.open(() => {
    shop.ahead += 7 * 3_600
    return AWAY
  })
  shop.startAgent()
  const limited = await shop.create({ ...PAUSING, max_seconds: 10 * 3_600 })
  const paused = only(await shop.until(limited, 'run_paused'), 'run_paused')
  expect(paused.payload).toMatchObject({
    by: 'max_seconds',
    reason: expect.stringMatching(/of 36000 seconds are used\. Its model is away: .*503/),
  })
  const ending = await shop.create()
  const records = await shop.until(ending, 'run_end')
  expect(countOf(records, 'llm_retry')).toBe(4)
  expect(only(records, 'error').payload.message).toContain('503')
})

test('a full disk is waited for, and pauses the run once that takes minutes', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  let looks = 0
  let isFull = true
  const diskProblem = async () => {
    looks += 1
    shop.ahead += 50
    return isFull ? 'There is no space.' : null
  }
  shop.startAgent({ effects: { diskProblem } })
  const runId = await shop.create(PAUSING)
  const records = await shop.until(runId, 'run_paused')
  expect(only(records, 'run_paused').payload).toEqual({ by: 'disk', reason: 'There is no space.' })
  expect(looks).toBeGreaterThan(2)
  expect(shop.requests).toEqual([])
  isFull = false
  await shop.command(runId, approve)
  const end = only(await shop.until(runId, 'run_end'), 'run_end')
  expect(end.payload.status).toBe('achieved')
  isFull = true
  const ending = only(await shop.until(await shop.create(), 'run_end'), 'run_end')
  expect(ending.payload.status).toBe('achieved')
})
