import type { Form } from '../../api/event-query.ts'
import { RunRecord } from '../../domain/records.ts'
import type { RunStatus } from '../../domain/state.ts'
import { statusAfter } from '../../domain/status-after.ts'
import type { Position, RecordedEvent } from '../../store/event-store.ts'
import { cursorOf, runOf } from './all-runs-cursor.ts'
import { encodeFrames, errorRecord, Frame } from './frame.ts'
import {
  type Damage,
  damageMessage,
  placeSuffix,
  type RecordJson,
  recordJsonOf,
} from './record-json.ts'
import { type PageDeps, projectedSeq } from './run-pages.ts'

type Place = { readonly position: Position; readonly runId: string; readonly cursor: string }

/** A record among those of all runs. Its JSON ends with the seq, the cursor and, if wanted, the metadata. */
export class AllRunsFrame extends Frame {
  readonly position: Position
  readonly runId: string
  readonly cursor: string
  /** The stored event is not a record: this is an `error` in its place. */
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
export function allRunsFrames(
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
