import { setImmediate as nextTurn } from 'node:timers/promises'
import { ok, type Result } from 'neverthrow'
import type { RecordedEvent } from '../store/event-store.ts'
import { Batch } from './batch.ts'
import type { ReadModelFailure } from './read-model-file.ts'
import type { SqliteReadModel } from './sqlite-read-model.ts'

/** Folding pauses after this many events or milliseconds, whichever comes first, so that other work gets its turn. */
const SLICE_EVENTS = 100
const SLICE_MS = 3

type Deps = {
  readonly readModel: SqliteReadModel
  /** An event as it is now: strings may have been redacted since it was delivered. */
  readonly asOfNow?: (event: RecordedEvent) => RecordedEvent
}

/** The batch that events are folded into until it is committed; then the next one begins. */
export class OpenBatch {
  readonly #deps: Deps
  #batch: Batch

  constructor(deps: Deps) {
    this.#deps = deps
    this.#batch = new Batch(deps.readModel)
  }

  /** Folds events in slices, and commits when the batch is full or the read model is current. Ends early if `round` aborts. */
  async project(
    events: readonly RecordedEvent[],
    round: AbortSignal,
  ): Promise<Result<void, ReadModelFailure>> {
    for (let next = 0; next < events.length; ) {
      next += this.#fold(events.slice(next, next + SLICE_EVENTS))
      if (round.aborted) return ok(undefined)
      if (this.#batch.isFull || (next === events.length && this.#deps.readModel.caughtUp)) {
        const committed = this.commit()
        if (committed.isErr()) return committed
      }
      await nextTurn()
      if (round.aborted) return ok(undefined)
    }
    return ok(undefined)
  }

  commit(): Result<void, ReadModelFailure> {
    const { readModel } = this.#deps
    if (this.#batch.size === 0) return ok(undefined)
    const committed = readModel.commit(this.#batch)
    if (committed.isOk()) this.#batch = new Batch(readModel)
    return committed
  }

  /** Folds events until a slice is over; returns how many. */
  #fold(events: readonly RecordedEvent[]): number {
    const { asOfNow } = this.#deps
    const began = performance.now()
    let folded = 0
    for (const event of events) {
      this.#batch.add(asOfNow === undefined ? event : asOfNow(event))
      folded += 1
      if (performance.now() - began > SLICE_MS) break
    }
    return folded
  }
}
