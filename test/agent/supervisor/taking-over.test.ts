import { ResultAsync } from 'neverthrow'
import { expect, test } from 'vitest'
import type { Effects } from '../../../src/agent/run/effects.ts'
import type { AgentCommand } from '../../../src/domain/commands.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import {
  type EventStore,
  type SubscriptionItem,
  storeWith,
} from '../../../src/store/event-store.ts'
import { CLAIM } from '../../support/server.ts'
import { goalsWith, only, payloadsOf, Workshop } from '../support.ts'

const FIRST = { from: 0, direction: 'forward', limit: 1 } as const

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
  return storeWith(store, {
    readStream: (...args) =>
      ResultAsync.fromSafePromise(Promise.resolve(held.reads)).andThen(() =>
        store.readStream(...args),
      ),
    subscribeAll: (options) => late(store.subscribeAll(options)),
  })
}

/** A check that succeeds once `until` has resolved. */
const checkedAfter = (until: Promise<unknown>): Partial<Effects> => ({
  findGoal: goalsWith(async () => {
    await until
    return { verdict: 'achieved', reason: 'done', details: '' }
  }),
})

/** A model without work. @param asked called when it is asked */
const idleModel = (asked: () => void) =>
  Workshop.open(() => {
    asked()
    return { text: 'Done.' }
  })

const claimants = (records: readonly RunRecord[]) =>
  payloadsOf(records, 'run_claimed').map(({ claimant }) => claimant)

/** A run that was unfinished at a position in the log, and that another process has claimed since then. */
async function claimedByOther(shop: Workshop) {
  const runId = await shop.create({ max_iterations: 1 })
  const claim = { ...CLAIM, claimant: 'other', readOnlyTools: new Set<string>() } as AgentCommand
  await shop.command(runId, claim)
  const [created] = (await shop.store.readStream(streamOf(runId), FIRST))._unsafeUnwrap()
  return { runId, position: created?.position ?? null }
}

test.each(['news', 'reads'] as const)(
  'if two processes claim a run at the same time, the second works on it, even if its %s come late',
  async (late) => {
    const asked = Promise.withResolvers<void>()
    await using shop = await idleModel(asked.resolve)
    const told = Promise.withResolvers<void>()
    const held = late === 'news' ? { news: asked.promise } : { reads: told.promise }
    const effects = checkedAfter(told.promise)
    const { runId, position } = await claimedByOther(shop)
    const store = slow(shop.store, held, told.resolve)
    const supervisor = shop.startAgent({ store, effects, unfinished: [runId], after: position })
    const records = await shop.until(runId, 'run_end')
    await supervisor.stop()
    expect(only(records, 'run_end').payload.status).toBe('achieved')
    expect(claimants(records)).toEqual(['other', expect.not.stringMatching(/^other$/)])
  },
)

test('a run that another process claims while it waits for its turn belongs to that process', async () => {
  const asked = Promise.withResolvers<void>()
  await using shop = await idleModel(asked.resolve)
  const told = Promise.withResolvers<void>()
  const effects = checkedAfter(told.promise)
  const first = await shop.create({ max_iterations: 1 })
  const { runId, position } = await claimedByOther(shop)
  const last = await shop.create({ max_iterations: 1 })
  const store = slow(shop.store, { news: asked.promise }, told.resolve)
  const unfinished = [first, runId, last]
  const options = { store, effects, unfinished, after: position, maxRunsAtWork: 1 }
  const supervisor = shop.startAgent(options)
  await shop.until(last, 'run_end')
  await supervisor.stop()
  expect(claimants(await shop.records(runId))).toEqual(['other'])
})
