import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventStore } from '../../src/store/event-store.ts'
import { allSubscriptionTests } from './contract/all-subscriptions.ts'
import { appendTests, idempotenceTests } from './contract/appends.ts'
import { overwriteTests } from './contract/overwrites.ts'
import { propertyTests } from './contract/properties.ts'
import { readTests } from './contract/reads.ts'
import { removalTests } from './contract/removals.ts'
import { leavingTests, streamSubscriptionTests } from './contract/stream-subscriptions.ts'
import { numbered, uniqueName } from './contract/support.ts'

/** An open store. `close` closes it and removes all that was created for it. */
type Opened = { readonly store: EventStore; close(): Promise<void> }

type ContractOptions = {
  /** How many random scripts are played. */
  readonly propertyRuns?: number
  /** Only what it reads and delivers is tested. */
  readonly isReading?: boolean
}

/**
 * What every event store must do. Each test has streams with names of its own, so the suite may run against
 * a server that others use too.
 * @param open called once for the suite, and once more by the test that closes a store
 */
export function describeEventStoreContract(
  name: string,
  open: () => Promise<Opened>,
  { propertyRuns = 20, isReading = false }: ContractOptions = {},
): void {
  describe(`${name} fulfils the contract of an event store`, () => {
    let opened: Opened | undefined
    beforeAll(async () => {
      opened = await open()
    })
    afterAll(() => opened?.close())
    const store = (): EventStore => {
      if (opened === undefined) throw new Error('the store is not open')
      return opened.store
    }

    describe('read', () => readTests(store))
    describe('subscribe to a stream', () => streamSubscriptionTests(store))
    describe('leave a subscription', () => leavingTests(store))
    describe('subscribe to all', () => allSubscriptionTests(store))
    describe('properties', () => propertyTests(store, propertyRuns))
    if (isReading) return
    describe('append', () => appendTests(store))
    describe('idempotence', () => idempotenceTests(store))
    describe('overwrite', () => overwriteTests(store))
    describe('remove', () => removalTests(store))
    describe('close', () => closeTest(open))
  })
}

function closeTest(open: () => Promise<Opened>): void {
  test('what is under way is finished, later calls fail with store_unavailable', async () => {
    const opened = await open()
    const { store } = opened
    try {
      const stream = uniqueName('close')
      const appends = [0, 1, 2].map(() =>
        store.append(stream, numbered(2), { expectedRevision: 'any' }),
      )
      await store.close()
      for (const append of await Promise.all(appends)) expect(append.isOk()).toBe(true)
      const later = [
        await store.append(stream, numbered(1), { expectedRevision: 'any' }),
        await store.readStream(stream, { from: 0, direction: 'forward', limit: 1 }),
        await store.ping(),
      ]
      for (const result of later) {
        expect(result._unsafeUnwrapErr()).toMatchObject({ type: 'store_unavailable' })
      }
      await store.close()
    } finally {
      await opened.close()
    }
  })
}
