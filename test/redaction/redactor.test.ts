import { errAsync, ok } from 'neverthrow'
import { describe, expect, test, vi } from 'vitest'
import { decideAndAppend } from '../../src/log/decider.ts'
import { readRecords, streamOf } from '../../src/log/run-log.ts'
import type { Redaction } from '../../src/redaction/redaction.ts'
import { REDACTIONS, withRedactions } from '../../src/redaction/redaction-index.ts'
import { Redactor } from '../../src/redaction/redactor.ts'
import { type EventStore, storeWith } from '../../src/store/event-store.ts'
import { observeStream } from '../store/contract/support.ts'
import { describeEventStoreContract } from '../store/contract.ts'
import { openTemporaryStore } from '../store/embedded/support.ts'
import { append, prepare } from '../support/append-records.ts'
import { createdRecord } from '../support/run-records.ts'

const log = { info: () => {}, warn: () => {}, error: () => {} }
const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'

describeEventStoreContract(
  'a store without what was redacted',
  async () => {
    const { store, close } = await openTemporaryStore()
    const redactor = new Redactor({ store, log })
    return { store: withRedactions(store, redactor), close }
  },
  { propertyRuns: 5, isReading: true },
)

/** A store that cannot change what is stored, as EventStoreDB. */
function rigid(store: EventStore): EventStore {
  const { overwrite: _, ...others } = storeWith(store, {})
  return others
}

async function withRun(use: (store: EventStore) => Promise<void>): Promise<void> {
  const { store, close } = await openTemporaryStore()
  const prepared = prepare(RUN_ID, null, [createdRecord(RUN_ID)], { commandId: 'c' })
  ;(await append(store, prepared))._unsafeUnwrap()
  await use(store).finally(close)
}

const ENTRY: Redaction = {
  kind: 'redacted',
  ts: 1,
  payload: {
    run_id: RUN_ID,
    seq: 0,
    redacted: { '/system_prompt': '0'.repeat(64) },
    reason: 'a name',
  },
}
const record = (store: EventStore) =>
  decideAndAppend(store, REDACTIONS, () => ok([ENTRY]), { commandId: 'r', principal: 'alice' })

const promptIn = async (store: EventStore) => {
  const [first] = (await readRecords(store, RUN_ID, 0, 1))._unsafeUnwrap()
  return first?.record.kind === 'run_created' ? first.record.payload.system_prompt : null
}

describe('a redaction', () => {
  test('that was recorded before the start hides its text from the first read and subscription', () =>
    withRun(async (store) => {
      ;(await record(store))._unsafeUnwrap()
      const hidden = withRedactions(rigid(store), new Redactor({ store: rigid(store), log }))
      const observer = observeStream(hidden, streamOf(RUN_ID))
      await observer.untilEvents(1)
      await observer.stop()
      expect(observer.events[0]?.data).toContain('[redacted]')
      expect(await promptIn(hidden)).toBe('[redacted]')
      expect(await promptIn(store)).toBe('Mend it.')
    }))

  test('hides the text, then makes derived data forget it, then erases it, and reports if it cannot be erased', () =>
    withRun(async (store) => {
      for (const given of [rigid(store), store]) {
        const redactor = new Redactor({ store: given, log })
        const forget = vi.fn(async () => {
          expect(await promptIn(withRedactions(given, redactor))).toBe('[redacted]')
        })
        ;(await record(store))._unsafeUnwrap()
        redactor.start([forget])
        await redactor.settled(10_000)
        const erased = given === store
        expect(await redactor.carriedOut(0, 10_000)).toEqual({ hidden: true, erased })
        expect(forget).toHaveBeenCalled()
        expect(await promptIn(store)).toBe(erased ? '[redacted]' : 'Mend it.')
        await redactor.stop()
      }
    }))

  test('is repeated until all derived data has forgotten the text and the store has erased it', () =>
    withRun(async (store) => {
      ;(await record(store))._unsafeUnwrap()
      let failures = 0
      const overwrite = store.overwrite?.bind(store)
      const failing: EventStore = {
        ...rigid(store),
        overwrite: (events) => {
          failures += 1
          if (failures > 2 && overwrite !== undefined) return overwrite(events)
          return errAsync({ type: 'store_failed', message: 'the disk is full' })
        },
      }
      const redactor = new Redactor({ store: failing, log })
      const forget = vi.fn().mockRejectedValueOnce(new Error('busy')).mockResolvedValue(undefined)
      redactor.start([forget])
      expect(await redactor.carriedOut(0, 20_000)).toEqual({ hidden: true, erased: true })
      expect(forget).toHaveBeenCalledTimes(2)
      expect(await promptIn(store)).toBe('[redacted]')
      await redactor.stop()
    }))

  test('is unknown while the store does not answer, so nothing is read', () =>
    withRun(async (store) => {
      ;(await record(store))._unsafeUnwrap()
      const away = { type: 'store_unavailable', message: 'away' } as const
      const given = { ...rigid(store), readStream: vi.fn(store.readStream.bind(store)) }
      given.readStream.mockReturnValueOnce(errAsync(away))
      const hidden = withRedactions(given, new Redactor({ store: given, log }))
      const options = { from: 0, direction: 'forward', limit: 1 } as const
      const refused = await hidden.readStream(streamOf(RUN_ID), options)
      expect(refused._unsafeUnwrapErr()).toEqual(away)
      expect(await promptIn(hidden)).toBe('[redacted]')
    }))
})
