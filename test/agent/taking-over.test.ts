import { randomUUID } from 'node:crypto'
import { okAsync } from 'neverthrow'
import { expect, test } from 'vitest'
import type { Effects } from '../../src/agent/run-loop.ts'
import { Supervisor } from '../../src/agent/supervisor.ts'
import type { RunCommand } from '../../src/domain/commands.ts'
import type { EventStore, SubscriptionItem } from '../../src/store/event-store.ts'
import { handleCommand } from '../../src/store/handle-command.ts'
import { streamOf } from '../../src/store/run-log.ts'
import { only, Workshop } from './support.ts'

const now = () => Date.now() / 1000
const FIRST = { from: 'start', direction: 'forward', limit: 1 } as const
const silent = { info() {}, warn() {}, error() {} }

const claimOf = (claimant: string, expected: string | null): RunCommand => ({
  type: 'claim',
  claimant,
  expected,
  readOnlyTools: new Set(),
  pid: 1,
  host: 'elsewhere',
})

/** A store that tells of what happens only once `until` has resolved, and says when it has told of a claim. */
function slowToTell(store: EventStore, until: Promise<unknown>, told: () => void): EventStore {
  async function* late(items: AsyncIterable<SubscriptionItem>) {
    await until
    for await (const item of items) {
      yield item
      if (item.type === 'events' && item.events.some(({ type }) => type === 'run_claimed')) told()
    }
  }
  return {
    append: (...args) => store.append(...args),
    readStream: (...args) => store.readStream(...args),
    subscribeStream: (...args) => store.subscribeStream(...args),
    subscribeAll: (options) => late(store.subscribeAll(options)),
    ping: () => store.ping(),
    close: () => store.close(),
  }
}

test('a claim that stands before its own keeps no process from its work, however late it is told of', async () => {
  await using shop = await Workshop.open([])
  const runId = await shop.create({ max_iterations: 1 })
  const options = { author: { commandId: randomUUID() }, now }
  const claimed = await handleCommand(shop.store, runId, claimOf('other', null), options)
  claimed._unsafeUnwrap()
  const asked = Promise.withResolvers<void>()
  const told = Promise.withResolvers<void>()
  const effects: Effects = {
    models: {
      complete: () => {
        asked.resolve()
        const reply = { text: 'Done.', toolCalls: [], finishReason: 'stop', costUsd: 0 }
        return okAsync({ ...reply, inputTokens: 1, outputTokens: 1 })
      },
      missingKey: () => null,
      contextBudget: () => 1000,
    },
    toolbox: {
      specs: [],
      readOnly: new Set(),
      execute: () => Promise.reject(new Error('there is no call')),
    },
    findGoal: (name) => ({
      name,
      description: '',
      prompt: '',
      detect: async () => true,
      // Only goes on once the earlier claims were told of.
      check: async () => {
        await told.promise
        return { achieved: true, reason: 'done', details: '' }
      },
    }),
    runCommand: () => Promise.reject(new Error('there is no command')),
    modelBackoff: () => 1,
    modelAttempts: 1,
  }
  const supervisor = new Supervisor({
    store: slowToTell(shop.store, asked.promise, told.resolve),
    effects,
    process: { claimant: 'ours', pid: 2, host: 'here' },
    now,
    newId: randomUUID,
    backoff: () => 1,
    maxRunsAtWork: 1,
    log: silent,
  })
  const [created] = (await shop.store.readStream(streamOf(runId), FIRST))._unsafeUnwrap()
  supervisor.start([runId], created?.position ?? null)
  const records = await shop.until(runId, 'run_end')
  await supervisor.stop()
  expect(only(records, 'run_end').payload.status).toBe('achieved')
  expect(records.flatMap((r) => (r.kind === 'run_claimed' ? [r.payload.claimant] : []))).toEqual([
    'other',
    'ours',
  ])
})
