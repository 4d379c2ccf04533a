import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result } from 'neverthrow'
import { type Checkpoint, LEDGERS, ledgerStream, type RunHead } from '../api/audit.ts'
import { present } from '../domain/present.ts'
import { sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { within } from '../lib/promises.ts'
import { GENESIS, type Signer } from '../log/chain.ts'
import { appendAfter } from '../log/decider.ts'
import { ensureLogId, type LogIdError } from '../log/log-identity.ts'
import type { AppendError, EventStore, NewEvent } from '../store/event-store.ts'
import { CHECKPOINT_STREAM, type CheckpointError, checkpointAppends } from './checkpoint-stream.ts'
import type { FollowedCheckpoints } from './followed-checkpoints.ts'
import { type Keyring, type KeyringFailure, seal } from './keyring.ts'
import { LEDGER_START, ledgerEnd, unsignedEntries } from './ledger-ends.ts'
import { leafOf, merkleRoot } from './merkle.ts'
import { checkpointHash } from './public-keys.ts'

export type WriterDeps = {
  readonly store: EventStore
  /** What was projected: at most `limit` runs whose ids come after `after` (empty for the first), sorted by id. */
  readonly runs: { heads(after: string, limit: number): readonly RunHead[] }
  /** All runs whose removal is recorded now, as they were then: their leaves stay. */
  readonly removed?: (() => Promise<Iterable<RunHead>>) | undefined
  readonly keyring: Keyring
  readonly clock: () => Date
  /** What is read of the log. */
  readonly followed: FollowedCheckpoints
  /** Whether the key in use must be in the log after each call, so that others can verify what it signs. */
  readonly publishes?: boolean
}

type WriteError = CheckpointError | AppendError | LogIdError | KeyringFailure

/** After this many runs, other tasks get a turn. */
const PAGE = 1000

/** Writes checkpoints over all runs and ledgers. */
export class CheckpointWriter {
  readonly #deps: WriterDeps

  constructor(deps: WriterDeps) {
    this.#deps = deps
  }

  /**
   * Appends a checkpoint if a run or ledger is new or longer since the last one, or if the log lacks keys by which
   * others verify what this server signs; otherwise null.
   */
  async write(): Promise<Result<Checkpoint | null, WriteError>> {
    return this.#deps.followed.withNew(() => this.#writeNext())
  }

  async #writeNext(): Promise<Result<Checkpoint | null, WriteError>> {
    const { store, keyring, followed, publishes = false } = this.#deps
    const { published: inLog, signers, isPending } = followed
    const keys = await keyring.load()
    if (keys.isErr()) return err(keys.error)
    const { signer, published } = keys.value
    const added = published.keys.filter(({ fingerprint }) => !inLog.has(fingerprint))
    // A server of several signs entries of ledgers, too, also while others write all checkpoints.
    const isNew = publishes && !inLog.has(signer.key)
    const grown = await this.#grown()
    // Earlier versions published no keys.
    const isOverdue = isNew || added.some(({ fingerprint }) => signers.has(fingerprint))
    if (grown.length === 0 && !isPending && !isOverdue) return ok(null)
    const logId = await ensureLogId(store)
    if (logId.isErr()) return err(logId.error)
    const checkpoint = await this.#next(grown, logId.value, signer)
    // The next call finds it in the stream.
    const appended = await this.#append(checkpointAppends(grown, checkpoint, added))
    return appended.map(() => checkpoint)
  }

  /** The runs and ledgers that are new or longer than in the stream. */
  async #grown(): Promise<readonly RunHead[]> {
    const { runs, store, removed, followed } = this.#deps
    const grown: RunHead[] = []
    const take = (head: RunHead): void => {
      const known = followed.leaves.get(head.run_id)?.head.length ?? 0
      if (head.length > known) grown.push(head)
    }
    for (let after: string | undefined = ''; after !== undefined; ) {
      const page = runs.heads(after, PAGE)
      for (const head of page) take(head)
      after = page.at(-1)?.run_id
      await nextTurn()
    }
    for (const name of LEDGERS) {
      // A ledger that cannot be read keeps its former head; verification reports it.
      const end = (await ledgerEnd(store, name)).unwrapOr(LEDGER_START)
      take({ run_id: ledgerStream(name), ...end })
    }
    // Last: the leaf of a run is as the entries say that the checkpoint covers.
    for (const { run_id, length, head } of (await removed?.()) ?? []) take({ run_id, length, head })
    return grown
  }

  async #next(grown: readonly RunHead[], logId: string, signer: Signer): Promise<Checkpoint> {
    const { store, clock, followed } = this.#deps
    const { leaves: before, last } = followed
    const leaves = new Map([...before].map(([id, { hash }]) => [id, hash]))
    for (const head of grown) leaves.set(head.run_id, leafOf(head))
    const sorted = [...leaves].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, hash]) => hash)
    const unsigned_entries = last?.unsigned_entries ?? (await unsignedEntries(store))
    return seal<Checkpoint>(
      {
        type: 'retrai.checkpoint.v1',
        log_id: logId,
        number: last === null ? 0 : last.number + 1,
        runs: sorted.length,
        root: (await merkleRoot(sorted)).toString('hex'),
        previous: last === null ? GENESIS : checkpointHash(last),
        ...present({ unsigned_entries }),
        signed_at: clock().toISOString(),
      },
      signer,
    )
  }

  async #append(appends: readonly NewEvent[][]): Promise<Result<void, AppendError>> {
    const { store, followed } = this.#deps
    let end = followed.revision
    for (const events of appends) {
      const failure = await appendAfter(store, CHECKPOINT_STREAM, end, events)
      if (failure !== null) return err(failure)
      end += events.length
    }
    return ok()
  }
}

/** Pause after the end of a run, so that runs that end together are in one checkpoint. */
const SOON_MS = 1_000
/** The shortest time between two checkpoints of a server, unless `seconds` is less. */
const PAUSE_MS = 5_000
/** Checkpoints may take one hundredth of the time, for any number of runs. */
const TIMES_AS_LONG = 100
/** How long a server that stops waits for its last checkpoint. */
const LAST_MS = 5_000

type TimerOptions = {
  /** The longest time after which a change is in a checkpoint. */
  readonly seconds: number
  readonly log: Pick<Logger, 'info' | 'warn'> & { readonly debug: Logger['info'] }
  readonly written: (checkpoint: Checkpoint) => Promise<void>
}

/** Writes checkpoints: soon after the end of a run, and every `seconds` if anything has changed. */
export class CheckpointTimer {
  readonly #write: CheckpointWriter['write']
  readonly #options: TimerOptions
  readonly #stop = new AbortController()
  /** Aborted once a run has ended that may not be in a checkpoint yet. */
  #ended = new AbortController()
  readonly #writing: Promise<void>

  constructor(write: CheckpointWriter['write'], options: TimerOptions) {
    this.#write = write
    this.#options = options
    this.#writing = this.#writeAgain()
  }

  /** Reports that a run has ended: a checkpoint is written soon. */
  runEnded(): void {
    this.#ended.abort()
  }

  /** Writes a last checkpoint, unless that takes longer than LAST_MS. */
  async stop(): Promise<void> {
    this.#stop.abort()
    const last = this.#writing.then(() => this.#attempt())
    await within(LAST_MS, last, () => {})
  }

  async #writeAgain(): Promise<void> {
    const { signal } = this.#stop
    const everyMs = this.#options.seconds * 1000
    const pauseMs = Math.min(PAUSE_MS, everyMs)
    for (let notBefore = 0; !signal.aborted; ) {
      const ended = this.#ended.signal
      await sleep(everyMs, AbortSignal.any([signal, ended]))
      const soonMs = Math.max(Math.min(SOON_MS, everyMs), notBefore - performance.now())
      if (ended.aborted) await sleep(soonMs, signal)
      if (signal.aborted) return
      const began = performance.now()
      if (!(await this.#attempt())) continue
      // Not longer than `seconds`: what took long on a slow disk would otherwise delay the next one for minutes.
      const restMs = Math.min(TIMES_AS_LONG * (performance.now() - began), everyMs)
      notBefore = performance.now() + Math.max(pauseMs, restMs)
    }
  }

  /** Whether there was something to write. Never rejects: what the read model throws must not end the server. */
  async #attempt(): Promise<boolean> {
    const { log, written } = this.#options
    this.#ended = new AbortController()
    try {
      const made = await this.#write()
      if (made.isErr()) {
        // Another server may have written one meanwhile.
        const isOvertaken = made.error.type === 'wrong_expected_revision'
        if (!isOvertaken) log.warn({ error: made.error }, 'no checkpoint could be written')
        return true
      }
      if (made.value !== null) {
        const { number, runs, root } = made.value
        log.debug({ number, runs, root }, 'checkpoint written')
        await written(made.value)
      }
      return made.value !== null
    } catch (cause) {
      log.warn({ err: cause }, 'no checkpoint could be written')
      return false
    }
  }
}
