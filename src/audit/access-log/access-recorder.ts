import { randomUUID } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'
import { ledgerStream } from '../../api/audit.ts'
import type { AccessEntry } from '../../domain/access.ts'
import type { Logger } from '../../lib/logger.ts'
import { decideAndAppend, type Folded } from '../../log/decider.ts'
import type { Signing } from '../../log/entry-seal.ts'
import type { LoadError } from '../../log/run-log.ts'
import type { AppendError, EventStore } from '../../store/event-store.ts'
import { ledgerEnd } from '../ledgers.ts'
import { accessLedger } from './access-ledger.ts'
import { type Access, AccessWindows } from './access-windows.ts'

export type RecorderDeps = {
  readonly store: EventStore
  readonly sign: Signing
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Whether an access must be written before anything is shown. */
  readonly strict: boolean
  /** How long an entry waits for others to be written with it, milliseconds. */
  readonly flushMs?: number
  /** How many entries can wait for the store. */
  readonly bound?: number
}

const FLUSH_MS = 1000
const BOUND = 10_000

/**
 * Writes the access log, in batches, while requests are answered. A crash loses what was not written yet: the entries of
 * the last second, and counts of the last minute.
 */
export class AccessRecorder {
  readonly #deps: RecorderDeps
  readonly #writer: AccessWriter
  readonly #windows: AccessWindows
  readonly #timer: NodeJS.Timeout
  #failing = false
  #stopped = false

  constructor(deps: RecorderDeps) {
    this.#deps = deps
    const { bound = BOUND, flushMs = FLUSH_MS } = deps
    this.#writer = new AccessWriter(deps, bound, (error) => this.#fail(error))
    this.#windows = new AccessWindows((entry) => this.#writer.take(entry))
    this.#timer = setInterval(() => this.#tick(), flushMs).unref()
  }

  /**
   * Notes an access.
   * @returns whether it may be granted; in strict mode that is known when it is written
   */
  note(access: Access): boolean | Promise<boolean> {
    if (this.#stopped) return true
    const taken = this.#windows.add(access, this.#deps.clock())
    if (!this.#deps.strict) return true
    return taken && this.#writer.written()
  }

  /** Writes everything that is noted, if the store accepts it. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#windows.closeAll(this.#deps.clock())
    this.#stopped = true
    await this.#writer.write()
    const { waiting: entries } = this.#writer
    if (entries > 0) this.#deps.log.warn({ entries }, 'entries of the access log are lost')
  }

  #tick(): void {
    this.#windows.closeOld(this.#deps.clock())
    void this.#writer.write().then((done) => {
      if (!done || !this.#failing) return
      this.#failing = false
      this.#deps.log.info({}, 'the access log is written again')
    })
  }

  #fail(error: { readonly type: string }): void {
    if (this.#failing) return
    this.#failing = true
    this.#deps.log.warn({ error }, 'the access log cannot be written, trying again')
  }
}

/** Entries in one append, and about how many bytes: far below the limit of an append. */
const [BATCH, BATCH_BYTES] = [500, 300_000] as const

type End = Pick<Folded<boolean>, 'revision' | 'head'>
/** The revision of a ledger without entries. */
const EMPTY = -1
type Times = { count: number; first_ts: number; last_ts: number }
type Waiter = { readonly upTo: number; readonly resolve: (written: boolean) => void }

/**
 * Writes entries to the access log, in order. They wait while the store is away. Beyond the bound they are lost, and
 * the log gets an entry with their number.
 */
class AccessWriter {
  readonly #deps: Pick<RecorderDeps, 'store' | 'sign' | 'clock'>
  readonly #bound: number
  readonly #onFailure: (error: AppendError | LoadError) => void
  #queue: AccessEntry[] = []
  #lost: Times | null = null
  /** The first entries of the queue, under the id that they keep when the append is repeated. */
  #batch: { readonly id: string; readonly size: number } | null = null
  /** What is known of the ledger: it had these entries before the batch that is written now. */
  #end: End | null = null
  #writing: Promise<boolean> | null = null
  #waiters: Waiter[] = []
  #taken = 0
  #written = 0

  constructor(
    deps: Pick<RecorderDeps, 'store' | 'sign' | 'clock'>,
    bound: number,
    onFailure: (error: AppendError | LoadError) => void,
  ) {
    this.#deps = deps
    this.#bound = bound
    this.#onFailure = onFailure
  }

  get waiting(): number {
    return this.#queue.length + (this.#lost?.count ?? 0)
  }

  /** @returns whether there was room for it */
  take(entry: AccessEntry): boolean {
    if (this.#queue.length >= this.#bound) {
      this.#lose(entry.ts)
      return false
    }
    this.#queue.push(entry)
    this.#taken += 1
    if (this.#queue.length >= BATCH) void this.write()
    return true
  }

  /** Whether everything that was taken is in the log; false when one attempt fails. */
  written(): true | Promise<boolean> {
    if (this.#written === this.#taken) return true
    return new Promise((resolve) => {
      this.#waiters.push({ upTo: this.#taken, resolve })
      void this.write()
    })
  }

  /** Writes until nothing waits, or an attempt fails. */
  write(): Promise<boolean> {
    if (this.#queue.length === 0) return Promise.resolve(true)
    this.#writing ??= this.#writeAll()
    return this.#writing
  }

  async #writeAll(): Promise<boolean> {
    let done = true
    while (done && this.#queue.length > 0) {
      done = await this.#writeBatch()
      this.#resolveWaiters(done)
      if (done) this.#recordLoss()
    }
    // Without an await before it, so that no caller joins a loop that has ended.
    this.#writing = null
    return done
  }

  async #writeBatch(): Promise<boolean> {
    this.#batch ??= { id: randomUUID(), size: sizeOfBatch(this.#queue) }
    const { id, size } = this.#batch
    const appended = await this.#append(id, this.#queue.slice(0, size))
    if (appended.isErr()) {
      this.#onFailure(appended.error)
      return false
    }
    this.#end = appended.value
    this.#batch = null
    this.#queue.splice(0, size)
    this.#written += size
    return true
  }

  async #append(
    id: string,
    entries: readonly AccessEntry[],
  ): Promise<Result<End, AppendError | LoadError>> {
    const end = await this.#knownEnd()
    if (end.isErr()) return err(end.error)
    this.#end = end.value
    // An append whose answer was lost may be stored, and entries of other servers after it.
    const decide = (isStored: boolean) => ok(isStored ? [] : entries)
    const from = { ...end.value, state: false }
    const { store, sign } = this.#deps
    return decideAndAppend(store, accessLedger(id), decide, { commandId: id }, { from, sign })
  }

  /** The end as it is known, if the store still has it; else the last entry. */
  async #knownEnd(): Promise<Result<End, LoadError>> {
    const known = this.#end
    if (known?.revision === EMPTY) return ok(known)
    const found = await ledgerEnd(this.#deps.store, 'access', known?.revision)
    return found.andThen(({ length, head }) =>
      // The store may have come back with another log, in which another server has written as many entries.
      known !== null && known.head !== head
        ? err(replacedAt(known))
        : ok({ revision: length - 1, head }),
    )
  }

  #resolveWaiters(done: boolean): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) {
      if (!done) waiter.resolve(false)
      else if (waiter.upTo <= this.#written) waiter.resolve(true)
      else this.#waiters.push(waiter)
    }
  }

  #lose(ts: number): void {
    this.#lost ??= { count: 0, first_ts: ts, last_ts: ts }
    this.#lost.count += 1
    this.#lost.last_ts = ts
  }

  /** There is room again: an entry for the lost ones is written where they are missing. */
  #recordLoss(): void {
    const lost = this.#lost
    if (lost === null) return
    this.#lost = null
    this.#queue.push({ kind: 'entries_lost', ts: this.#deps.clock(), payload: lost })
    this.#taken += 1
  }
}

/** The server learns of another log by itself, and starts over. */
const replacedAt = ({ revision }: End): LoadError => ({
  ...{ type: 'damaged_record', stream: ledgerStream('access'), seq: revision },
  message: 'it is not the entry that was written or read there before',
})

/** How many of the first entries go into one append: at least one. */
function sizeOfBatch(queue: readonly AccessEntry[]): number {
  let bytes = 0
  const tooMany = queue.slice(0, BATCH).findIndex((entry, index) => {
    bytes += JSON.stringify(entry).length
    return index > 0 && bytes > BATCH_BYTES
  })
  return tooMany === -1 ? Math.min(BATCH, queue.length) : tooMany
}
