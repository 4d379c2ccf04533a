import type { Form } from '../../api/event-query.ts'
import { type Kind, RunRecord } from '../../domain/records.ts'
import type { Position, RecordedEvent } from '../../store/event-store.ts'
import { cursorOf, runOf } from './cursor.ts'
import { entryOf, refusalFrame } from './entry.ts'
import type { PageDeps } from './page.ts'
import { metaSuffix } from './text.ts'

type Facts = Pick<FeedEntry, 'cursor' | 'runId' | 'kind' | 'data'>

/** A record in the feed of all runs. */
export class FeedEntry {
  readonly position: Position
  readonly cursor: string
  readonly runId: string
  readonly seq: number
  /** Null for a stored event that is no record: the frame is an `error` that says so. */
  readonly kind: Kind | null
  /** The frame: the record, its seq, its cursor. */
  readonly data: Buffer
  readonly #kept: Pick<RecordedEvent, 'id' | 'metadata' | 'created'>
  #withMeta: Buffer | null = null

  constructor(event: RecordedEvent, { cursor, runId, kind, data }: Facts) {
    this.position = event.position
    this.cursor = cursor
    this.runId = runId
    this.seq = event.revision
    this.kind = kind
    this.data = data
    const { id, metadata, created } = event
    this.#kept = { id, metadata, created }
  }

  /** The frame in a form; the larger one is made when somebody wants it, for all who do. */
  dataIn(form: Form): Buffer {
    if (form === 'record' || this.kind === null) return this.data
    this.#withMeta ??= this.#makeWithMeta()
    return this.#withMeta
  }

  #makeWithMeta(): Buffer {
    const suffix = metaSuffix(this.#kept)
    if (suffix !== null) return withSuffix(this.data, suffix)
    const damage = { seq: this.seq, message: 'its metadata is no JSON' }
    return withCursor(damageFrame(this.runId, this.#kept, damage), this.cursor)
  }
}

/** The entries of stored events; those of streams that are no run's are left out. */
export function feedEntries(events: readonly RecordedEvent[], deps: PageDeps): FeedEntry[] {
  return events.flatMap((event) => {
    const runId = runOf(event.stream)
    return runId === null ? [] : feedEntry(runId, event, deps)
  })
}

function feedEntry(runId: string, event: RecordedEvent, { readModel }: PageDeps): FeedEntry {
  const { revision: seq } = event
  const entry = entryOf(event, seq <= (readModel.get(runId)?.state.seq ?? -1))
  const cursor = cursorOf(runId, event)
  const [kind, frame] =
    entry.type === 'frame' ? [entry.kind, entry.data] : [null, damageFrame(runId, event, entry)]
  return new FeedEntry(event, { cursor, runId, kind, data: withCursor(frame, cursor) })
}

function damageFrame(
  runId: string,
  { created }: Pick<RecordedEvent, 'created'>,
  { seq, message }: { readonly seq: number; readonly message: string },
): Buffer {
  const why = `Record ${seq} of this run cannot be read: ${message}. See the server's log.`
  return refusalFrame(runId, seq, created / 1000, why)
}

/** Puts the cursor behind the last key of a frame. */
const withCursor = (frame: Buffer, cursor: string): Buffer =>
  withSuffix(frame, `,"cursor":"${cursor}"}`)

const withSuffix = (frame: Buffer, suffix: string): Buffer =>
  Buffer.concat([frame.subarray(0, -1), Buffer.from(suffix)])

/** The record of a frame whose kind is known. */
export function recordOf({ data }: FeedEntry): RunRecord {
  const { seq: _, cursor: __, ...record } = JSON.parse(data.toString())
  return RunRecord.parse(record)
}
