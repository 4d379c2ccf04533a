import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import { MAX_PAGE, type ReadError, type ReadOptions, type RecordedEvent } from '../event-store.ts'
import type { ReadQueue } from './read-queue.ts'

/** One page of a stream, as the port has it. */
export function readStream(
  reads: ReadQueue,
  stream: string,
  { from, direction, limit }: ReadOptions,
): ResultAsync<RecordedEvent[], ReadError> {
  const request = {
    op: 'stream',
    stream,
    from: firstRevision(from),
    backward: direction === 'backward',
    limit: Math.min(atLeast(0, limit), MAX_PAGE),
    short: false,
  } as const
  return reads
    .ask(stream, (id) => ({ ...request, id }))
    .andThen(({ found, events }): Result<RecordedEvent[], ReadError> => {
      return found ? ok(events) : err({ type: 'stream_not_found', stream })
    })
}

function firstRevision(from: ReadOptions['from']): number {
  if (from === 'start') return 0
  return from === 'end' ? Number.MAX_SAFE_INTEGER : atLeast(0, from)
}

/** @throws RangeError for what is no integer from `least` on */
export function atLeast(least: number, value: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new RangeError(`an integer from ${least} on is needed, not ${value}`)
}
