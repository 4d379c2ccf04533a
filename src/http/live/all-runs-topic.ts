import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { Form } from '../../api/event-query.ts'
import { RunId } from '../../api/fields.ts'
import { RunRecord } from '../../domain/records.ts'
import { type RunStatus, statusAfter } from '../../domain/state.ts'
import { RUN_STREAM_PREFIX, runIdOf, streamOf } from '../../log/run-log.ts'
import { eventAt } from '../../log/stream-pages.ts'
import type { EventStore, Position, RecordedEvent, StoreFailure } from '../../store/event-store.ts'
import { encodeFrames, errorRecord, Frame, sizeOf } from './frame.ts'
import {
  type Damage,
  damageMessage,
  placeSuffix,
  type RecordJson,
  recordJsonOf,
} from './record-json.ts'
import { positionPlaces } from './ring.ts'
import { type PageDeps, projectedSeq } from './run-pages.ts'
import { SharedTopic, type TopicDeps } from './shared-topic.ts'

/**
 * A cursor over all runs names the last record that was delivered: its run, the first bits of its id,
 * which derives from its hash, and its seq. The store looks up the position of the record when a client
 * resumes. So a cursor is valid for every server on the log, after a restart, and after the log was moved
 * to another store; a cursor of another log is detected.
 */
const CURSOR = /^([\w-]{32})\.(\d{1,15})$/
const [RUN_DIGITS, ID_DIGITS] = [32, 16]

const digits = (uuid: string): string => uuid.replaceAll('-', '')

/** The run that a stream holds; null if it holds no run. */
export function runOf(stream: string): string | null {
  const runId = runIdOf(stream)
  const parsed = RunId.safeParse(runId)
  return parsed.success && parsed.data === runId ? runId : null
}

/** @param runId as `runOf` returns it */
export function cursorOf(
  runId: string,
  { revision, id }: Pick<RecordedEvent, 'revision' | 'id'>,
): string {
  const place = digits(runId) + digits(id).slice(0, ID_DIGITS)
  return `${Buffer.from(place, 'hex').toString('base64url')}.${revision}`
}

export type CursorError =
  | StoreFailure
  /** Not a record of this log. The message is for the client. */
  | { readonly type: 'unknown_cursor'; readonly message: string }

/** The position of the record that a cursor names. */
export function locate(cursor: string, store: EventStore): ResultAsync<Position, CursorError> {
  return new ResultAsync(find(cursor, store))
}

async function find(cursor: string, store: EventStore): Promise<Result<Position, CursorError>> {
  const [, packed, seq] = CURSOR.exec(cursor) ?? []
  if (packed === undefined) {
    const message = `"${cursor}" is not a cursor. Take it from a frame, an SSE id or a Link header of this server.`
    return err({ type: 'unknown_cursor', message })
  }
  const place = Buffer.from(packed, 'base64url').toString('hex')
  const run = streamOf(dashed(place.slice(0, RUN_DIGITS)))
  const read = await eventAt(store, run, Number(seq))
  if (read.isErr()) return err(read.error)
  const { value: event } = read
  if (event !== null && digits(event.id).startsWith(place.slice(RUN_DIGITS))) {
    return ok(event.position)
  }
  const message = 'This cursor does not belong to this log. Start again without it.'
  return err({ type: 'unknown_cursor', message })
}

function dashed(hex: string): string {
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-')
}

type Place = { readonly position: Position; readonly runId: string; readonly cursor: string }

/** A record among those of all runs. Its JSON ends with the seq, the cursor and, if wanted, the metadata. */
export class AllRunsFrame extends Frame {
  readonly position: Position
  readonly runId: string
  readonly cursor: string
  /** Set if the stored event is not a record: this frame is an `error` in its place. */
  readonly isDamaged: boolean
  #status: RunStatus | null | undefined

  constructor(frame: Frame, { position, runId, cursor }: Place, isDamaged: boolean) {
    super(frame.seq, frame.kind, frame)
    this.position = position
    this.runId = runId
    this.cursor = cursor
    this.isDamaged = isDamaged
  }

  /** The status that the record gives its run; null if it gives none. Read once for all observers. */
  get status(): RunStatus | null {
    if (this.#status === undefined) {
      this.#status = this.isDamaged ? null : statusAfter(recordOf(this))
    }
    return this.#status
  }
}

/** The frames of stored events. Events of streams that hold no run are left out. */
function allRunsFrames(
  events: readonly RecordedEvent[],
  form: Form,
  deps: Pick<PageDeps, 'readModel'>,
): AllRunsFrame[] {
  const placed = events.flatMap((event) => {
    const runId = runOf(event.stream)
    if (runId === null) return []
    const place = { position: event.position, runId, cursor: cursorOf(runId, event) }
    const projected = event.revision <= projectedSeq(runId, deps)
    const record = recordJsonOf(event, projected, form, place.cursor)
    const isDamaged = record.type === 'damage'
    return [{ place, isDamaged, record: isDamaged ? errorOf(record, place, event) : record }]
  })
  const frames = encodeFrames<never>(placed.map(({ record }) => record))
  return placed.flatMap(({ place, isDamaged }, index) => {
    const frame = frames[index]
    return frame === undefined ? [] : [new AllRunsFrame(frame, place, isDamaged)]
  })
}

function errorOf(damage: Damage, { runId, cursor }: Place, { created }: RecordedEvent): RecordJson {
  const json = JSON.stringify(errorRecord(runId, created / 1000, damageMessage(damage)))
  const { seq } = damage
  return { type: 'record', seq, kind: 'error', json, suffix: placeSuffix(seq, cursor) }
}

function recordOf({ data }: AllRunsFrame): RunRecord {
  const { seq: _, cursor: __, id: ___, meta: ____, ...record } = JSON.parse(data.toString())
  return RunRecord.parse(record)
}

type Frames = readonly AllRunsFrame[]
/** Some frames, and those of them that a filter selects. */
export type AllRunsPart = {
  readonly frames: Frames
  readonly selected: ReadonlySet<AllRunsFrame>
}
type Filter = { select(frames: Frames): Promise<AllRunsPart['selected']> }

/** The records of all runs in the order of the log; a cursor is a position, null before the first record. */
export class AllRunsTopic {
  readonly #deps: TopicDeps
  readonly #topic: SharedTopic<Position | null, AllRunsFrame>

  constructor(deps: TopicDeps) {
    this.#deps = deps
    this.#topic = new SharedTopic<Position | null, AllRunsFrame>(
      {
        logFields: {},
        stored: (after, form, signal) => this.#stored(after, form, signal),
        subscribe: (after, signal) => this.#subscribe(after, signal),
        itemsOf: (events, form) => allRunsFrames(events, form, deps),
        cursorOf: ({ position }) => position,
        cursorOfEvent: ({ position }) => position,
        sizeOf,
        placesAfter: positionPlaces,
      },
      deps,
    )
  }

  /** All after a position: history, then live, as `SharedTopic.follow`, and which of them the filter selects. */
  async *follow(
    after: Position | null,
    { form, filter }: { readonly form: Form; readonly filter: Filter },
    signal: AbortSignal,
  ): AsyncGenerator<AllRunsPart, void, void> {
    let cursor = after
    let inHistory = true
    while (!signal.aborted) {
      for await (const frames of this.#topic.follow(cursor, form, signal)) {
        if (frames.length === 0 && !inHistory) continue
        const { forgotten } = this.#topic
        const selected = await filter.select(frames)
        // The filter may read the store. A text that was redacted meanwhile is read again.
        if (forgotten !== this.#topic.forgotten) break
        yield { frames, selected }
        inHistory &&= frames.length > 0
        cursor = frames.at(-1)?.position ?? cursor
      }
    }
  }

  /** What is in the log now after a position. Ends there, or when `signal` aborts. */
  async *history(
    after: Position | null,
    form: Form,
    signal: AbortSignal,
  ): AsyncGenerator<Frames, void, void> {
    for await (const page of this.#stored(after, form, signal)) {
      if (page === null) return
      yield page
    }
  }

  /** Drops all that is kept, because a part of it was redacted. */
  forget(): void {
    this.#topic.forget()
  }

  /** A subscription for one reader, which stays open after the end of what is stored. */
  async *#stored(
    after: Position | null,
    form: Form,
    signal: AbortSignal,
  ): AsyncGenerator<Frames | null, void, void> {
    for await (const item of this.#subscribe(after, signal)) {
      if (item.type === 'caught_up') {
        yield null
        continue
      }
      if (item.type === 'interrupted') continue
      const frames = allRunsFrames(item.events, form, this.#deps)
      if (frames.length > 0) yield frames
    }
  }

  #subscribe(after: Position | null, signal: AbortSignal) {
    return this.#deps.store.subscribeAll({ after, prefix: RUN_STREAM_PREFIX, signal })
  }
}
