import { err, ok, type Result } from 'neverthrow'
import type {
  AppendError,
  Appended,
  ExpectedRevision,
  NewEvent,
  StoreFailure,
} from '../event-store.ts'
import {
  ANY,
  NO_STREAM,
  REPEATED,
  STORED,
  STREAM_EXISTS,
  UNKNOWN,
  WRONG_REVISION,
} from './messages.ts'

/** What became of an append, by its outcome. */
export function resultOf(
  expected: ExpectedRevision,
  outcome: number,
  revision: number,
  failure: StoreFailure | null,
): Result<Appended, AppendError> {
  const message = failure?.message ?? 'the append failed'
  switch (outcome) {
    case STORED:
    case REPEATED:
      return ok({ revision })
    case WRONG_REVISION: {
      const actual = revision === NO_STREAM ? 'no_stream' : revision
      return err({ type: 'wrong_expected_revision', expected, actual })
    }
    case UNKNOWN:
      return err({ type: 'outcome_unknown', message })
    default:
      return err({ type: 'store_failed', message })
  }
}

/** An expected revision as it is sent. */
export function expectedCell(expected: ExpectedRevision): number {
  switch (expected) {
    case 'no_stream':
      return NO_STREAM
    case 'any':
      return ANY
    case 'stream_exists':
      return STREAM_EXISTS
    default:
      return expected
  }
}

/** @throws RangeError where it is no revision at all: the caller's mistake */
export function assertRevision(expected: ExpectedRevision): void {
  if (typeof expected === 'string' || (Number.isSafeInteger(expected) && expected >= 0)) return
  throw new RangeError(`an expected revision is an integer from 0 on, not ${expected}`)
}

/** Bytes of data and metadata. */
export function sizeOf(events: readonly NewEvent[]): number {
  let bytes = 0
  for (const { data, metadata } of events) {
    bytes += Buffer.byteLength(data) + Buffer.byteLength(metadata)
  }
  return bytes
}
