import { expect, test } from 'vitest'
import type { AgentCommand } from '../../../src/domain/commands.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { CLAIM, type Report, replyWith } from '../../support/server.ts'
import { goalsWith, only, Workshop } from '../support.ts'

/** A run whose check was interrupted by this many crashes. */
async function interrupted(
  shop: Workshop,
  crashes: number,
  changes: Partial<RunConfig> = {},
): Promise<string> {
  const runId = await shop.create({ max_iterations: 1, on_tampering: 'off', ...changes })
  const steps: [claimant: string, report: Report][] = [
    ['a', CLAIM],
    ['a', replyWith([])],
  ]
  for (let crash = 0; crash < crashes; crash += 1) {
    const [last] = steps.at(-1) ?? ['a']
    steps.push([`${last}+`, { ...CLAIM, expected: last, after: 'crash' } as Report])
  }
  for (const [claimant, report] of steps) {
    await shop.command(runId, { ...report, claimant, readOnlyTools: new Set() } as AgentCommand)
  }
  return runId
}

const DONE = { verdict: 'achieved' as const, reason: 'done', details: '' }

test('runs that two crashes interrupted are tried after a rest, beside each other and after the others', async () => {
  await using shop = await Workshop.open([])
  const suspects = [await interrupted(shop, 2), await interrupted(shop, 2)]
  const other = await interrupted(shop, 1)
  const both = Promise.withResolvers<void>()
  let checks = 0
  const check = async () => {
    checks += 1
    // Each of the two suspects waits here for the other one.
    if (checks === 3) both.resolve()
    if (checks > 1) await both.promise
    return DONE
  }
  shop.startAgent({ unfinished: [...suspects, other], effects: { findGoal: goalsWith(check) } })
  only(await shop.until(other, 'run_end'), 'run_end')
  expect(checks).toBe(1)
  for (const runId of suspects) {
    const records = await shop.until(runId, 'run_end')
    expect(only(records, 'run_queued').payload.reason).toBe(
      'The server crashed 2 times while the goal was checked. It is tried again after a pause of up to 5 seconds.',
    )
    expect(only(records, 'run_end').payload.reason).toBe('done')
  }
})

test.each([
  ['end', 'human_check_required'],
  ['pause', 'run_paused'],
] as const)(
  'after five crashes nothing is tried before a person approves (%s: %s)',
  async (on_limit, asks) => {
    await using shop = await Workshop.open([])
    const runId = await interrupted(shop, 5, { on_limit })
    expect((await shop.records(runId)).at(-1)?.kind).toBe(asks)
    let checks = 0
    const check = async () => {
      checks += 1
      return DONE
    }
    shop.startAgent({ unfinished: [runId], effects: { findGoal: goalsWith(check) } })
    await shop.until(runId, 'run_claimed', (await shop.records(runId)).length - 1)
    expect(checks).toBe(0)
    const approve = { decision: 'approve', reason: null, answers: null } as const
    await shop.command(runId, { type: 'respond', ...approve })
    expect(only(await shop.until(runId, 'run_end'), 'run_end').payload.reason).toBe('done')
    expect(checks).toBe(1)
  },
)
