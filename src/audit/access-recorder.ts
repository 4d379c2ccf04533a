import { randomUUID } from 'node:crypto'
import { err, ok, type Result } from 'neverthrow'
import { ledgerStream } from '../api/audit.ts'
import { ledgerEnd } from '../checkpoints/ledger-ends.ts'
import { AccessEntry } from '../domain/access.ts'
import type { Logger } from '../lib/logger.ts'
import type { Signing } from '../log/chain.ts'
import { decideAndAppend, type Folded, type StreamDefinition } from '../log/decider.ts'
import type { LoadError } from '../log/run-log.ts'
import type { AppendError, EventStore } from '../store/event-store.ts'
import { type Access, AccessWindows } from './access-windows.ts'

export type RecorderDeps = {
  readonly store: EventStore
  readonly sign: Signing
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** How long an entry waits for others to be written with it, milliseconds. */
  readonly flushMs?: number
}

const FLUSH_MS = 1000
/** How many entries can wait for the store. */
const MAX_WAITING = 10_000
/** Entries in one append, and about how many bytes: far below the limit of an append. */
const BATCH = 500
const BATCH_BYTES = 300_000

type End = Pick<Folded<boolean>, 'revision' | 'head'>
/** The revision of a ledger without entries. */
const EMPTY = -1
type Times = { count: number; first_ts: number; last_ts: number }

/**
 * Writes the access log, in order and in batches, while requests are answered. Entries wait while the store is away;
 * beyond MAX_WAITING they are lost, and the log gets an entry with their number. A crash loses what was not written yet:
 * the entries of the last second, and counts of the last minute.
 */
export class AccessRecorder {
  readonly #deps: RecorderDeps
  readonly #windows = new AccessWindows((entry) => this.#take(entry))
  readonly #timer: NodeJS.Timeout
  #queue: AccessEntry[] = []
  #lost: Times | null = null
  /** The first entries of the queue, under the id that they keep when the append is repeated. */
  #batch: { readonly id: string; readonly size: number } | null = null
  /** What is known of the ledger: it had these entries before the batch that is written now. */
  #end: End | null = null
  #writing: Promise<void> | null = null
  #isFailing = false
  #stopped = false

  constructor(deps: RecorderDeps) {
    this.#deps = deps
    this.#timer = setInterval(() => {
      this.#windows.closeOld(deps.clock())
      void this.#write()
    }, deps.flushMs ?? FLUSH_MS).unref()
  }

  note(access: Access): void {
    if (!this.#stopped) this.#windows.add(access, this.#deps.clock())
  }

  /** Writes everything that is noted, if the store accepts it. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#windows.closeAll(this.#deps.clock())
    this.#stopped = true
    await this.#write()
    const entries = this.#queue.length + (this.#lost?.count ?? 0)
    if (entries > 0) this.#deps.log.warn({ entries }, 'entries of the access log are lost')
  }

  #take(entry: AccessEntry): void {
    if (this.#queue.length < MAX_WAITING) this.#queue.push(entry)
    else {
      this.#lost ??= { count: 0, first_ts: entry.ts, last_ts: entry.ts }
      this.#lost.count += 1
      this.#lost.last_ts = entry.ts
    }
    if (this.#queue.length >= BATCH) void this.#write()
  }

  /** Writes until nothing waits, or an attempt fails. */
  async #write(): Promise<void> {
    if (this.#queue.length === 0) return
    this.#writing ??= this.#writeAll()
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    const { log } = this.#deps
    while (this.#queue.length > 0) {
      const written = await this.#writeBatch()
      if (written.isErr()) {
        const { error } = written
        if (!this.#isFailing) log.warn({ error }, 'the access log cannot be written, trying again')
        this.#isFailing = true
        break
      }
      if (this.#isFailing) log.info({}, 'the access log is written again')
      this.#isFailing = false
      this.#recordLoss()
    }
    // Without an await before it, so that no caller joins a loop that has ended.
    this.#writing = null
  }

  async #writeBatch(): Promise<Result<void, AppendError | LoadError>> {
    const { store, sign } = this.#deps
    this.#batch ??= { id: randomUUID(), size: sizeOfBatch(this.#queue) }
    const { id, size } = this.#batch
    const entries = this.#queue.slice(0, size)
    const end = await this.#knownEnd()
    if (end.isErr()) return err(end.error)
    this.#end = end.value
    // An append whose answer was lost may be stored, and entries of other servers after it.
    const decide = (isStored: boolean) => ok(isStored ? [] : entries)
    const options = { from: { ...end.value, state: false }, sign }
    const author = { commandId: id }
    const appended = await decideAndAppend(store, accessLedger(id), decide, author, options)
    if (appended.isErr()) return err(appended.error)
    this.#end = appended.value
    this.#batch = null
    this.#queue.splice(0, size)
    return ok()
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

  /** There is room again: an entry for the lost ones is written where they are missing. */
  #recordLoss(): void {
    const lost = this.#lost
    if (lost === null) return
    this.#lost = null
    this.#queue.push({ kind: 'entries_lost', ts: this.#deps.clock(), payload: lost })
  }
}

/** The server learns of another log by itself, and starts over. */
const replacedAt = ({ revision }: End): LoadError => ({
  type: 'damaged_record',
  stream: ledgerStream('access'),
  seq: revision,
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

/** Who was shown what. Its state is whether the command with this id has written. */
const accessLedger = (id: string): StreamDefinition<AccessEntry, boolean> => ({
  stream: ledgerStream('access'),
  schema: AccessEntry,
  sealedTogether: true,
  initial: false,
  evolve: (hasWritten, { meta }) => hasWritten || meta.command_id === id,
})
