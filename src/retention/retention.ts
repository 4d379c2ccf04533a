import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { RunRemoval } from '../api/retention.ts'
import type { Logger } from '../lib/logger.ts'
import type { Signing } from '../log/chain.ts'
import { type Author, decideAndAppend, emptyStream, type LoadError } from '../log/decider.ts'
import type { LedgerWork } from '../log/ledger-work.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import {
  type Hold,
  RETENTION,
  type RetentionEntry,
  RetentionIndex,
  type RunRemoved,
  retentionWork,
} from './ledger.ts'

export type RetentionError =
  | AppendError
  | LoadError
  | { readonly type: 'run_removed'; readonly removal: RunRemoval }
  /** The run, or one that goes or stays with it. */
  | { readonly type: 'on_hold'; readonly runId: string; readonly hold: Hold }

type Deps = {
  /** The log as it is stored. */
  readonly ledger: EventStore
  readonly sign: Signing
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly log: Logger
}

/** The ledger of retention, as far as this process knows it, and the commands that add to it. */
export class Retention {
  readonly index = new RetentionIndex()
  /** Carries out what the ledger says, once a `Remover` starts it. */
  readonly work: LedgerWork<RetentionEntry>
  readonly #deps: Deps
  #folded = emptyStream(RETENTION)

  constructor(deps: Deps) {
    this.#deps = deps
    this.work = retentionWork(deps.ledger, this.index, deps.log)
  }

  /** Whether a stream is that of a run that was removed. */
  readonly isGone = (stream: string): boolean => this.index.removalIn(stream) !== undefined

  /** Puts a run on hold. */
  hold(runId: string, reason: string, author: Author): ResultAsync<void, RetentionError> {
    return this.#record(author, ({ holds, removals }) => {
      const removal = removals.get(runId)
      if (removal !== undefined) return err({ type: 'run_removed', removal })
      if (holds.get(runId)?.reason === reason) return ok([])
      return ok([this.#entry('run_held', { run_id: runId, reason })])
    })
  }

  release(runId: string, reason: string | null, author: Author): ResultAsync<void, RetentionError> {
    return this.#record(author, ({ holds }) =>
      ok(holds.has(runId) ? [this.#entry('hold_released', { run_id: runId, reason })] : []),
    )
  }

  /** Records that runs are removed, all of them or none: nothing reads them from then on. */
  remove(
    runs: readonly RunRemoved['payload'][],
    author: Author,
  ): ResultAsync<void, RetentionError> {
    return this.#record(author, ({ holds, removals }) => {
      for (const { run_id: runId } of runs) {
        const hold = holds.get(runId)
        if (hold !== undefined) return err({ type: 'on_hold', runId, hold })
      }
      const left = runs.filter(({ run_id }) => !removals.has(run_id))
      return ok(left.map((run) => this.#entry('run_removed', run)))
    })
  }

  /** Records how long a run is that somebody has changed after its removal was recorded. */
  correct(
    { run_id, rule, action, archive }: RunRemoval,
    end: Pick<RunRemoval, 'length' | 'head'>,
    author: Author,
  ): ResultAsync<void, RetentionError> {
    const payload = { run_id, ...end, rule, action, ...(archive && { archive }) }
    return this.#record(author, ({ removals }) =>
      ok(removals.get(run_id)?.head === end.head ? [] : [this.#entry('run_removed', payload)]),
    )
  }

  #entry<K extends RetentionEntry['kind']>(
    kind: K,
    payload: Extract<RetentionEntry, { kind: K }>['payload'],
  ): RetentionEntry {
    return { kind, ts: this.#deps.now(), payload } as RetentionEntry
  }

  #record(
    author: Author,
    decide: (index: RetentionIndex) => Result<readonly RetentionEntry[], RetentionError>,
  ): ResultAsync<void, RetentionError> {
    const { ledger, sign } = this.#deps
    const options = {
      from: this.#folded,
      sign,
      visit: (logged: Parameters<RetentionIndex['add']>[0]) => this.index.add(logged),
    }
    return decideAndAppend(ledger, RETENTION, () => decide(this.index), author, options)
      .andTee((folded) => {
        if (folded.revision > this.#folded.revision) this.#folded = folded
      })
      .map(() => undefined)
  }
}
