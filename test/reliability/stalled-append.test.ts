import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { ResultAsync } from 'neverthrow'
import { expect, test } from 'vitest'
import { RunSession } from '../../src/agent/run/session.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { Workshop } from '../agent/support.ts'
import { bound } from '../support/server.ts'

/** A store whose appends resolve some time after they are stored. */
function slow(store: EventStore, meanwhile: () => Promise<void>): EventStore {
  const append: EventStore['append'] = (...args) =>
    store
      .append(...args)
      .andThen((done) => ResultAsync.fromSafePromise(meanwhile().then(() => done)))
  return { ...bound(store), append }
}

async function session(store: EventStore, runId: string, claimant: string): Promise<RunSession> {
  const opened = await RunSession.open(runId, {
    store,
    claimant,
    readOnlyTools: new Set(),
    now: () => Date.now() / 1000,
    newId: randomUUID,
    retryMs: [1, 1],
    signal: new AbortController().signal,
    log: { info() {}, warn() {}, error() {} },
  })
  return opened._unsafeUnwrap()
}

const claim = (expected: string | null) => ({ type: 'claim', expected, pid: 1, host: 'h' }) as const

test.each([
  ['notices a takeover before it does anything else', true],
  ['continues if there was no takeover', false],
])('a process that stalled in an append %s', async (_, isTakenOver) => {
  await using shop = await Workshop.open([])
  const runId = await shop.create()
  let meanwhile = async (): Promise<void> => {}
  const store = slow(shop.store, () => meanwhile())
  const first = await session(store, runId, 'first')
  expect((await first.record(claim(null))).isOk()).toBe(true)
  meanwhile = async () => {
    if (isTakenOver) {
      const second = await session(shop.store, runId, 'second')
      expect((await second.record(claim('first'))).isOk()).toBe(true)
    }
    await delay(1_100)
  }
  const recorded = await first.record({ type: 'record_retry', reason: 'busy', delayMs: 0 })
  const lost = { type: 'claim_lost', claimant: 'second' }
  if (isTakenOver) expect(recorded._unsafeUnwrapErr()).toMatchObject(lost)
  else expect([recorded.isOk(), first.state.claimant]).toEqual([true, 'first'])
})
