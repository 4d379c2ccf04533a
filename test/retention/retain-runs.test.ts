import { randomUUID } from 'node:crypto'
import { ok, okAsync } from 'neverthrow'
import { expect, test } from 'vitest'
import type { RunCommand } from '../../src/domain/commands.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { type LoadedRun, load } from '../../src/log/run-log.ts'
import { createRetention } from '../../src/retention/retain-runs.ts'
import { memoryStore } from '../support/memory-store.ts'
import { EXAMPLE_CONFIG } from '../support/run-records.ts'

type Deps = Parameters<typeof createRetention>[0]

test('a run is kept from which another one has begun while others were removed', async () => {
  const store = memoryStore()
  /** The newest comes first. */
  const runs: LoadedRun[] = []
  async function add(hasEnded: boolean, from?: LoadedRun): Promise<LoadedRun> {
    const runId = randomUUID()
    const options = { author: { commandId: randomUUID() }, now: () => 1 }
    const send = async (command: RunCommand) =>
      (await handleCommand(store, runId, command, options))._unsafeUnwrap()
    const origin = from && { run_id: from.state.runId, seq: from.state.seq, hash: from.head }
    await send({
      type: 'create',
      runId,
      config: EXAMPLE_CONFIG,
      system_prompt: 'Mend it.',
      ...(origin && { origin: { kind: 'fork', ...origin }, taken_over: { introduced: true } }),
    })
    if (hasEnded) await send({ type: 'abort', reason: null })
    const run = (await load(store, runId))._unsafeUnwrap()
    if (run === null) throw new Error('it was created')
    runs.unshift(run)
    return run
  }
  const older = await add(true)
  const newer = await add(true)
  let fork: LoadedRun | undefined
  const retention = {
    index: { holds: new Map(), removals: new Map() },
    work: { read: () => okAsync(undefined) },
    remove: async () => {
      fork = await add(false, older)
      return ok(undefined)
    },
  }
  const found = ({ origin }: { readonly origin?: string }) =>
    runs.filter(({ state }) => origin === undefined || state.origin?.run_id === origin)
  const { retain } = createRetention({
    retention: retention as unknown as Deps['retention'],
    remover: { settled: async () => true },
    store,
    readModel: {
      get: (runId) => runs.find(({ state }) => state.runId === runId) ?? null,
      list: (query) => {
        return { runs: found(query).map(({ state }) => ({ run_id: state.runId })), next: null }
      },
    },
    tags: { read: () => okAsync(new Map()) },
    now: () => 1000,
  })
  const rules = [{ name: 'all', match: {}, action: 'remove' }] as const
  const asked = { rules, dry_run: false, archived: {} }
  const rows = (await retain(asked, { commandId: 'c' }))._unsafeUnwrap()
  const why = `run ${fork?.state.runId}, which begins from it, is not over`
  expect(rows).toMatchObject([
    { run_id: newer.state.runId, kept: null, removed: true },
    { run_id: older.state.runId, kept: why, removed: false },
  ])
  await store.close()
})
