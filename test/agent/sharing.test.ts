import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { mend, only, Workshop } from './support.ts'

/** Longer than a busy machine makes anybody wait. */
const LEASE_MS = 1_500

const sharing = (shop: Workshop) => shop.startAgent([], {}, 16, LEASE_MS)

const claimants = (records: readonly RunRecord[]) =>
  records.flatMap((record) => (record.kind === 'run_claimed' ? [record.payload.claimant] : []))

test('a process that says nothing because its model thinks for long keeps its run', async () => {
  await using shop = await Workshop.open([{ calls: [mend], delayMs: 3 * LEASE_MS }])
  sharing(shop)
  sharing(shop)
  const records = await shop.until(await shop.create(), 'run_end')
  only(records, 'run_claimed')
  only(records, 'tool_call')
})

test('a run whose process is never heard of again is taken over', async () => {
  await using shop = await Workshop.open([{ calls: [mend] }])
  const runId = await shop.create()
  const claimed = await handleCommand(
    shop.store,
    runId,
    {
      type: 'claim',
      claimant: 'gone',
      expected: null,
      readOnlyTools: new Set(),
      pid: 1,
      host: 'elsewhere',
    },
    { author: { commandId: randomUUID() }, now: () => Date.now() / 1000 },
  )
  expect(claimed.isOk()).toBe(true)
  sharing(shop)
  sharing(shop)
  const records = await shop.until(runId, 'run_end')
  expect(claimants(records)).toHaveLength(2)
  expect(only(records, 'run_end').payload.status).toBe('achieved')
})

test('a process that has stopped before another starts leaves its runs to that, which need not wait', async () => {
  await using shop = await Workshop.open([
    { calls: [{ tool: 'bash_exec', args: { command: 'touch begun; sleep 600' } }] },
    { calls: [mend] },
  ])
  const first = shop.startAgent([], {}, 16, 3_600_000)
  const runId = await shop.create()
  await shop.until(runId, 'tool_call')
  await first.stop()
  shop.startAgent([], {}, 16, 3_600_000)
  await shop.until(runId, 'run_end')
})

test('a process that stops leaves its runs to the others, which need not wait', async () => {
  await using shop = await Workshop.open([
    { calls: [{ tool: 'bash_exec', args: { command: 'touch begun; sleep 600' } }] },
    { calls: [mend] },
  ])
  // So long that a test which waits for its end fails.
  const first = shop.startAgent([], {}, 16, 3_600_000)
  const runId = await shop.create()
  await shop.until(runId, 'tool_call')
  shop.startAgent([], {}, 16, 3_600_000)
  await first.stop()
  await shop.until(runId, 'run_end')
})
