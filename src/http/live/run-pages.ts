import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { Form, Selection } from '../../api/event-query.ts'
import type { Problem } from '../../api/problems.ts'
import { streamOf } from '../../log/run-log.ts'
import { streamPages } from '../../log/stream-pages.ts'
import type { ReadModel } from '../../projections/read-model.ts'
import type { EventStore, ReadError, ReadOptions, RecordedEvent } from '../../store/event-store.ts'
import { commandProblem } from '../problems/problem-of.ts'
import { framesOf, isEnd, type RunFrame } from './frame.ts'
import { type Damage, damageMessage, type RecordJson, recordJsonOf } from './record-json.ts'

export type PageDeps = {
  readonly store: EventStore
  readonly readModel: Pick<ReadModel, 'get' | 'caughtUp'>
}

/** The seq up to which the projector has read a run; -1 for none. */
export const projectedSeq = (runId: string, { readModel }: Pick<PageDeps, 'readModel'>): number =>
  readModel.get(runId)?.state.seq ?? -1

/** One page of a run as frames. */
export function readFrames(
  runId: string,
  options: ReadOptions,
  deps: PageDeps,
  form: Form = 'record',
): ResultAsync<RunFrame[], ReadError> {
  return deps.store
    .readStream(streamOf(runId), options)
    .map((events) => framesOf(events, projectedSeq(runId, deps), form))
}

const MIN_RECORDS = 8
const MAX_RECORDS = 1024

/** How many records to read at once so that a page has about the wanted size. Learns from each page. */
export class PageSize {
  readonly #bytes: number
  #records: number

  /** @param first how many records to read before their size is known */
  constructor(bytes: number, first = 64) {
    this.#bytes = bytes
    this.#records = first
  }

  get records(): number {
    return this.#records
  }

  /** @param bytes of all records of the page together */
  learn(records: number, bytes: number): void {
    if (records === 0) return
    const fitting = Math.floor((this.#bytes * records) / (bytes + 1))
    this.#records = Math.max(MIN_RECORDS, Math.min(fitting, this.#records * 4, MAX_RECORDS))
  }
}

/** What one client wants of a run. */
export type RunSelection = {
  readonly runId: string
  /** Exclusive; null begins at the end that the direction begins at. */
  readonly after: number | null
  readonly direction: 'forward' | 'backward'
  readonly limit: number
  readonly selection: Selection
  readonly form: Form
}

/** The pages of a run, until there are no more; reads the next one while the caller works on one. */
export async function* pagesOf(
  { runId, after, direction, form }: Pick<RunSelection, 'runId' | 'after' | 'direction' | 'form'>,
  pageSize: PageSize,
  deps: PageDeps,
): AsyncGenerator<Result<(RecordJson | Damage)[], ReadError>, void, void> {
  const from = after === null ? {} : { from: after + (direction === 'forward' ? 1 : -1) }
  const limit = (last: readonly RecordedEvent[] | null): number => {
    if (last !== null) pageSize.learn(last.length, sum(last.map(({ data }) => data.length)))
    return pageSize.records
  }
  for await (const page of streamPages(deps.store, streamOf(runId), {
    direction,
    limit,
    ...from,
  })) {
    yield page.map((events) => {
      const projected = projectedSeq(runId, deps)
      return events.map((event) => recordJsonOf(event, event.revision <= projected, form))
    })
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0)

/** Whether the run has ended at the seq `after`, or why it cannot be read from there. */
export async function checkStart(
  { runId, after, direction }: Pick<RunSelection, 'runId' | 'after' | 'direction'>,
  deps: PageDeps,
): Promise<Result<{ readonly complete: boolean }, Problem>> {
  const fromStart = direction === 'backward' || after === null || after < 0
  const [from, limit] = fromStart ? [0, 1] : [after, 2]
  const read = await readFrames(runId, { from, direction: 'forward', limit }, deps)
  if (read.isErr()) return err(commandProblem(read.error))
  if (direction === 'backward') return ok({ complete: false })
  const [at, next] = fromStart ? [null, ...read.value] : read.value
  if (at === undefined) {
    const message = `after=${after} is beyond the last record of this run.`
    const errors = [{ field: 'after', message }]
    return err({ code: 'invalid_request', detail: message, errors })
  }
  if (next?.type === 'damage') return err({ code: 'damaged_record', detail: damageMessage(next) })
  return ok({ complete: at !== null && isEnd(at) })
}
