import { expect, test } from 'vitest'
import type { AgentCommand } from '../../../src/domain/commands.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { CLAIM } from '../../support/server.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../support.ts'

/** Longer than any delay on a busy machine. */
const LEASE_MS = 1_500

const sharing = (shop: Workshop) => shop.startAgent({ leaseMs: LEASE_MS })

const claimants = (records: readonly RunRecord[]) =>
  payloadsOf(records, 'run_claimed').map(({ claimant }) => claimant)

test('a process that is silent because it waits for its model keeps its run', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal], delayMs: 3 * LEASE_MS }])
  sharing(shop)
  sharing(shop)
  const records = await shop.until(await shop.create(), 'run_end')
  only(records, 'run_claimed')
  only(records, 'tool_call')
})

test('a run whose process stays silent is taken over', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  const runId = await shop.create()
  const claim = { ...CLAIM, claimant: 'gone', readOnlyTools: new Set<string>() } as AgentCommand
  await shop.command(runId, claim)
  sharing(shop)
  sharing(shop)
  const records = await shop.until(runId, 'run_end')
  expect(claimants(records)).toHaveLength(2)
  const taken = records.findLast(({ kind }) => kind === 'run_claimed')
  expect(taken?.payload).toMatchObject({ after: 'lease_expired' })
  expect(taken?.payload).not.toHaveProperty('after_crash')
  expect(only(records, 'run_end').payload.status).toBe('achieved')
})

test.each(['that starts then', 'that is there already'])(
  'a process %s takes over the runs of a process that stops, without a wait',
  async (which) => {
    await using shop = await Workshop.open([
      { calls: [{ tool: 'bash_exec', args: { command: 'touch begun; sleep 600' } }] },
      { calls: [reachGoal] },
    ])
    // A test that waits for this to end fails.
    const start = () => shop.startAgent({ leaseMs: 3_600_000 })
    const first = start()
    const runId = await shop.create()
    await shop.until(runId, 'tool_call')
    if (which === 'that is there already') start()
    await first.stop()
    if (which === 'that starts then') start()
    await shop.until(runId, 'run_end')
  },
)
