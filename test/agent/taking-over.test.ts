import { randomUUID } from 'node:crypto'
import { okAsync, ResultAsync } from 'neverthrow'
import { expect, test } from 'vitest'
import type { Effects } from '../../src/agent/effects.ts'
import type { ModelReply } from '../../src/agent/model/model.ts'
import { Supervisor } from '../../src/agent/supervisor.ts'
import type { RunCommand } from '../../src/domain/commands.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { streamOf } from '../../src/log/run-log.ts'
import type { EventStore, SubscriptionItem } from '../../src/store/event-store.ts'
import { openWorkspace } from '../workspace/support.ts'
import { only, unfinishedRun, Workshop } from './support.ts'

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

/** A store in which reads and deliveries of events can be delayed, as on a busy machine. */
function slow(
  store: EventStore,
  held: { readonly reads?: Promise<unknown>; readonly news?: Promise<unknown> },
  claimTold: () => void,
): EventStore {
  async function* late(items: AsyncIterable<SubscriptionItem>) {
    await held.news
    for await (const item of items) {
      yield item
      if (item.type !== 'events') continue
      if (item.events.some(({ type }) => type === 'run_claimed')) claimTold()
    }
  }
  return {
    append: (...args) => store.append(...args),
    readStream: (...args) =>
      ResultAsync.fromSafePromise(Promise.resolve(held.reads)).andThen(() =>
        store.readStream(...args),
      ),
    subscribeStream: (...args) => store.subscribeStream(...args),
    subscribeAll: (options) => late(store.subscribeAll(options)),
    ping: () => store.ping(),
    close: () => store.close(),
  }
}

/** A model without work, and a check that succeeds once `until` has resolved. */
function idleEffects(until: Promise<unknown>, asked: () => void): Effects {
  const reply: ModelReply = {
    text: 'Done.',
    toolCalls: [],
    finishReason: 'stop',
    providerItems: null,
    usage: {
      inputTokens: 1,
      outputTokens: 1,
      cachedTokens: null,
      cacheWriteTokens: null,
      longCacheWriteTokens: null,
      reasoningTokens: null,
    },
    provider: 'idle',
    costUsd: 0,
    priceSource: null,
    firstTokenMs: null,
  }
  const check = async () => {
    await until
    return { verdict: 'achieved' as const, reason: 'done', details: '' }
  }
  return {
    models: {
      complete: () => {
        asked()
        return okAsync(reply)
      },
      contextBudget: async () => 1000,
    },
    openWorkspace,
    readProject: async () => ({ documents: [], files: null, git: null, programs: null }),
    toolbox: {
      specs: [],
      readOnly: new Set(),
      facts: async () => null,
      execute: () => Promise.reject(new Error('there is no call')),
    },
    findGoal: (name) => ({ name, description: '', prompt: '', detect: async () => null, check }),
    runCommand: () => Promise.reject(new Error('there is no command')),
    dataDir: null,
    reportsDir: '/nowhere',
    modelRetryMs: [1, 1],
    modelAttempts: 1,
  }
}

const claimants = (records: readonly RunRecord[]) =>
  records.flatMap((record) => (record.kind === 'run_claimed' ? [record.payload.claimant] : []))

/** A run that was unfinished at a position in the log, and that another process has claimed since then. */
async function claimedByOther(shop: Workshop) {
  const runId = await shop.create({ max_iterations: 1 })
  const options = { author: { commandId: randomUUID() }, now }
  const claimed = await handleCommand(shop.store, runId, claimOf('other', null), options)
  claimed._unsafeUnwrap()
  const [created] = (await shop.store.readStream(streamOf(runId), FIRST))._unsafeUnwrap()
  return { runId, position: created?.position ?? null }
}

const supervise = (store: EventStore, effects: Effects) =>
  new Supervisor({
    stopped: new Set(),
    store,
    effects,
    process: { server: 'us', claimant: 'ours', pid: 2, host: 'here' },
    pool: null,
    leaseMs: null,
    now,
    newId: randomUUID,
    retryMs: [1, 1],
    maxRunsAtWork: 1,
    log: silent,
  })

test.each(['news', 'reads'] as const)(
  'if two processes claim a run at the same time, the second works on it, even if its %s come late',
  async (late) => {
    await using shop = await Workshop.open([])
    const asked = Promise.withResolvers<void>()
    const told = Promise.withResolvers<void>()
    const held = late === 'news' ? { news: asked.promise } : { reads: told.promise }
    const effects = idleEffects(told.promise, asked.resolve)
    const { runId, position } = await claimedByOther(shop)
    const supervisor = supervise(slow(shop.store, held, told.resolve), effects)
    supervisor.start([unfinishedRun(runId)], position)
    const records = await shop.until(runId, 'run_end')
    await supervisor.stop()
    expect(only(records, 'run_end').payload.status).toBe('achieved')
    expect(claimants(records)).toEqual(['other', 'ours'])
  },
)

test('a run that another process claims while it waits for its turn belongs to that process', async () => {
  await using shop = await Workshop.open([])
  const asked = Promise.withResolvers<void>()
  const told = Promise.withResolvers<void>()
  const effects = idleEffects(told.promise, asked.resolve)
  const first = await shop.create({ max_iterations: 1 })
  const { runId, position } = await claimedByOther(shop)
  const last = await shop.create({ max_iterations: 1 })
  const store = slow(shop.store, { news: asked.promise }, told.resolve)
  const supervisor = supervise(store, effects)
  supervisor.start([first, runId, last].map(unfinishedRun), position)
  await shop.until(last, 'run_end')
  await supervisor.stop()
  expect(claimants(await shop.records(runId))).toEqual(['other'])
})

test('what a run has left is not removed a second time at once, if the record of its end comes late', async () => {
  await using shop = await Workshop.open([])
  const begun = Promise.withResolvers<void>()
  const removed = Promise.withResolvers<void>()
  const forgotten: string[] = []
  const forgetRun = async (runId: string) => {
    forgotten.push(runId)
    begun.resolve()
    await removed.promise
  }
  const effects = { ...idleEffects(Promise.resolve(), () => {}), forgetRun }
  const { runId, position } = await claimedByOther(shop)
  const supervisor = supervise(
    slow(shop.store, { news: begun.promise }, () => {}),
    effects,
  )
  supervisor.start([unfinishedRun(runId)], position)
  await begun.promise
  // It is worked on once its own first record has come, which is after that end.
  await shop.until(await shop.create({ max_iterations: 1 }), 'run_end')
  removed.resolve()
  await supervisor.stop()
  expect(forgotten.filter((id) => id === runId)).toHaveLength(1)
})
