import { type Kind, RunRecord } from '../../domain/records.ts'
import type { Position, RecordedEvent } from '../../store/event-store.ts'
import { cursorOf, runOf } from './cursor.ts'
import { entryOf, refusalFrame } from './entry.ts'
import type { PageDeps } from './page.ts'

/** A record in the feed of all runs. */
export type FeedEntry = {
  readonly position: Position
  readonly cursor: string
  readonly runId: string
  readonly seq: number
  /** Null for a stored event that is no record: the frame is an `error` that says so. */
  readonly kind: Kind | null
  /** The frame: the record, its seq, its cursor. */
  readonly data: Buffer
}

/** The entries of stored events; those of streams that are no run's are left out. */
export function feedEntries(events: readonly RecordedEvent[], deps: PageDeps): FeedEntry[] {
  return events.flatMap((event) => {
    const runId = runOf(event.stream)
    return runId === null ? [] : feedEntry(runId, event, deps)
  })
}

function feedEntry(runId: string, event: RecordedEvent, { readModel }: PageDeps): FeedEntry {
  const { revision: seq, position } = event
  const entry = entryOf(event, seq <= (readModel.get(runId)?.state.seq ?? -1))
  const cursor = cursorOf(runId, event)
  const [kind, frame] =
    entry.type === 'frame' ? [entry.kind, entry.data] : [null, damageFrame(runId, event, entry)]
  return { position, cursor, runId, seq, kind, data: withCursor(frame, cursor) }
}

function damageFrame(
  runId: string,
  { created }: RecordedEvent,
  { seq, message }: { readonly seq: number; readonly message: string },
): Buffer {
  const why = `Record ${seq} of this run cannot be read: ${message}. See the server's log.`
  return refusalFrame(runId, seq, created / 1000, why)
}

/** Puts the cursor behind the last key of a frame. */
function withCursor(frame: Buffer, cursor: string): Buffer {
  return Buffer.concat([frame.subarray(0, -1), Buffer.from(`,"cursor":"${cursor}"}`)])
}

/** The record of a frame whose kind is known. */
export function recordOf({ data }: FeedEntry): RunRecord {
  const { seq: _, cursor: __, ...record } = JSON.parse(data.toString())
  return RunRecord.parse(record)
}
