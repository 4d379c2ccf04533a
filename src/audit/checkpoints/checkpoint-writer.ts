import { setImmediate as nextTurn } from 'node:timers/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import {
  type Checkpoint,
  LEDGERS,
  ledgerStream,
  type PublishedKey,
  type RunHead,
  type UnsignedEntries,
} from '../../api/audit.ts'
import { present } from '../../domain/present.ts'
import { GENESIS } from '../../log/chain.ts'
import type { Signer } from '../../log/entry-seal.ts'
import { ensureLogId, type LogIdError } from '../../log/log-id.ts'
import type { AppendError, EventStore, NewEvent } from '../../store/event-store.ts'
import { LEDGER_START, ledgerEnd, unsignedEntries } from '../ledgers.ts'
import type { Keyring, KeyringFailure } from '../proofs/keyring.ts'
import { checkpointHash, seal } from '../proofs/statements.ts'
import {
  CHECKPOINT_STREAM,
  type CheckpointError,
  checkpointEntries,
  checkpointEvent,
  RUNS_PER_EVENT,
  runsEvent,
} from './checkpoint-stream.ts'
import { MerkleTree } from './merkle.ts'
import { leafOf, type RunHeads } from './run-heads.ts'

type WriterDeps = {
  readonly store: EventStore
  readonly runs: Pick<RunHeads, 'heads' | 'takeChanged'>
  readonly keyring: Keyring
  readonly clock: () => Date
}

export type WriteError = CheckpointError | AppendError | LogIdError | KeyringFailure

/** After this many runs, other tasks get a turn. */
const PAGE = 1000

/**
 * Writes checkpoints over all runs and ledgers. It keeps what it has read of the stream, and the tree over it, so the
 * cost of a checkpoint depends on what has changed since the previous one, not on the number of runs.
 */
export class CheckpointWriter {
  readonly #deps: WriterDeps
  readonly #tree = new MerkleTree()
  readonly #lengths = new Map<string, number>()
  /** Runs that come after the last checkpoint in the stream, for one that has not been written yet. */
  #pending = new Map<string, RunHead>()
  /** Leaves that are not in the tree yet. */
  #leaves = new Map<string, Uint8Array>()
  /** Runs and ledgers that are known to be longer than in the stream. */
  readonly #grown = new Map<string, RunHead>()
  /** Keys that have signed checkpoints, and those that are published in the log. */
  readonly #signers = new Set<string>()
  readonly #published = new Set<string>()
  #revision = -1
  #last: Checkpoint | null = null

  constructor(deps: WriterDeps) {
    this.#deps = deps
  }

  /**
   * Appends a checkpoint if a run or ledger is new or longer since the last one, or if the log lacks keys by which
   * others verify what this server has signed; otherwise null. `too_soon` if the last checkpoint, of any server,
   * is younger than `pauseMs`. With `publishes`, the key in use is in the log after that in any case.
   */
  write({
    pauseMs = 0,
    publishes = false,
  }: {
    readonly pauseMs?: number
    readonly publishes?: boolean
  } = {}): ResultAsync<Checkpoint | 'too_soon' | null, WriteError> {
    return new ResultAsync(this.#write(pauseMs, publishes))
  }

  async #write(
    pauseMs: number,
    publishes: boolean,
  ): Promise<Result<Checkpoint | 'too_soon' | null, WriteError>> {
    const { store, keyring, clock } = this.#deps
    const read = await this.#read()
    if (read.isErr()) return err(read.error)
    const keys = await keyring.load()
    if (keys.isErr()) return err(keys.error)
    const { signer, published } = keys.value
    const added = published.keys.filter(({ fingerprint }) => !this.#published.has(fingerprint))
    // A server of several signs entries of ledgers, too, also while others write all checkpoints.
    const isNew = publishes && !this.#published.has(signer.key)
    const age = this.#last === null ? null : clock().getTime() - Date.parse(this.#last.signed_at)
    if (age !== null && age >= 0 && age < pauseMs && !isNew) return ok('too_soon')
    await this.#findGrown()
    const overdue = isNew || added.some(({ fingerprint }) => this.#signers.has(fingerprint))
    if (this.#grown.size + this.#pending.size === 0 && !overdue) return ok(null)
    const logId = await ensureLogId(store)
    if (logId.isErr()) return err(logId.error)
    const grown = [...this.#grown.values()]
    await this.#plant([...this.#pending.values(), ...grown])
    const unsigned = this.#last?.unsigned_entries ?? (await unsignedEntries(store))
    const checkpoint = this.#next(logId.value, signer, clock(), unsigned)
    const appended = await this.#append(grown, checkpoint, added)
    if (appended.isErr()) return err(appended.error)
    this.#revision = appended.value
    for (const { run_id, length } of [...this.#pending.values(), ...grown]) {
      this.#lengths.set(run_id, length)
    }
    this.#pending = new Map()
    this.#grown.clear()
    this.#see(checkpoint, added)
    return ok(checkpoint)
  }

  /** Reads what is new in the stream. */
  async #read(): Promise<Result<void, CheckpointError>> {
    for await (const entry of checkpointEntries(this.#deps.store, this.#revision)) {
      if (entry.isErr()) return err(entry.error)
      this.#revision = entry.value.revision
      if ('runs' in entry.value) {
        for (const head of entry.value.runs) this.#pending.set(head.run_id, head)
      } else {
        for (const head of this.#pending.values()) this.#take(head)
        this.#pending = new Map()
        this.#see(entry.value.checkpoint, entry.value.keys)
      }
    }
    return ok(undefined)
  }

  #see(checkpoint: Checkpoint, keys: readonly PublishedKey[]): void {
    this.#last = checkpoint
    this.#signers.add(checkpoint.key)
    for (const { fingerprint } of keys) this.#published.add(fingerprint)
  }

  #take(head: RunHead): void {
    this.#lengths.set(head.run_id, head.length)
    this.#leaves.set(head.run_id, leafOf(head))
  }

  async #findGrown(): Promise<void> {
    const { runs, store } = this.#deps
    const changed = runs.takeChanged()
    if (changed !== null) this.#keepGrown(changed)
    for (let after: string | undefined = ''; changed === null && after !== undefined; ) {
      const page = runs.heads(after, PAGE)
      this.#keepGrown(page)
      after = page.at(-1)?.run_id
      await nextTurn()
    }
    for (const name of LEDGERS) {
      // A ledger that cannot be read keeps its former head; verification reports it.
      const end = (await ledgerEnd(store, name)).unwrapOr(LEDGER_START)
      this.#keepGrown([{ run_id: ledgerStream(name), ...end }])
    }
    this.#keepGrown([...this.#grown.values()])
  }

  #keepGrown(heads: Iterable<RunHead>): void {
    for (const head of heads) {
      const { run_id, length } = head
      const known = this.#pending.get(run_id)?.length ?? this.#lengths.get(run_id) ?? 0
      if (length > known) this.#grown.set(run_id, head)
      else this.#grown.delete(run_id)
    }
  }

  /** Updates the tree to the stream and these heads. */
  async #plant(heads: readonly RunHead[]): Promise<void> {
    for (const head of heads) this.#leaves.set(head.run_id, leafOf(head))
    const leaves = this.#leaves
    this.#leaves = new Map()
    for (const _ of this.#tree.put(leaves)) await nextTurn()
  }

  #next(
    logId: string,
    signer: Signer,
    now: Date,
    unsigned_entries: UnsignedEntries | null,
  ): Checkpoint {
    return seal<Checkpoint>(
      {
        type: 'retrai.checkpoint.v1',
        log_id: logId,
        number: this.#last === null ? 0 : this.#last.number + 1,
        runs: this.#tree.size,
        root: this.#tree.root.toString('hex'),
        previous: this.#last === null ? GENESIS : checkpointHash(this.#last),
        ...present({ unsigned_entries }),
        signed_at: now.toISOString(),
      },
      signer,
    )
  }

  /** The last runs and the checkpoint are one append, and usually the only one. @returns the new revision */
  async #append(
    grown: readonly RunHead[],
    checkpoint: Checkpoint,
    keys: readonly PublishedKey[],
  ): Promise<Result<number, AppendError>> {
    const appends: NewEvent[][] = []
    for (let from = 0; from < grown.length; from += RUNS_PER_EVENT) {
      appends.push([runsEvent(grown.slice(from, from + RUNS_PER_EVENT))])
    }
    const last = appends.pop() ?? []
    let expected = this.#revision
    for (const events of [...appends, [...last, checkpointEvent(checkpoint, keys)]]) {
      const expectedRevision = expected === -1 ? 'no_stream' : expected
      const appended = await this.#deps.store.append(CHECKPOINT_STREAM, events, {
        expectedRevision,
      })
      if (appended.isErr()) return err(appended.error)
      expected = appended.value.revision
    }
    return ok(expected)
  }
}
