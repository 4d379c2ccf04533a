import { err, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import type { Checkpoint, RunHead } from '../api/audit.ts'
import { MerkleTree } from '../lib/merkle-tree.ts'
import { hashOfLeaf } from '../lib/note-check.ts'
import { canonicalText } from '../log/commitment.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import type { StoreFailure } from '../store/event-store.ts'
import {
  type CheckpointEntry,
  type CheckpointError,
  type CheckpointLog,
  checkpointAt,
  checkpointEntries,
} from './checkpoint-stream.ts'
import type { Keyring, KeyringFailure } from './keyring.ts'
import { leafOf } from './merkle.ts'

/**
 * A run or ledger in the newest checkpoint, and its leaf in the tree of that. `size`: how many checkpoints this server
 * had signed with the first one that covers all of it.
 */
type Leaf = { readonly head: RunHead; readonly hash: Buffer; readonly size: number }

/** How many checkpoints are kept with their runs: whoever asks for one proof asks for more. */
const KEPT = 2

/** The checkpoints of a log, which are read as far as they are not known, and the tree of those that a server has signed. */
export class FollowedCheckpoints {
  readonly #store: StreamReader
  readonly #keyring: Pick<Keyring, 'load'>
  /** By the fingerprint of a key: whether it is of this server. */
  readonly #own = new Map<string, boolean>()
  readonly #begin: () => Promise<Result<void, StoreFailure>>
  #hasBegun = false
  #busy: Promise<unknown> = Promise.resolve()
  readonly leaves = new Map<string, Leaf>()
  /** Keys that have signed checkpoints, and those that are published in the log. */
  readonly signers = new Set<string>()
  readonly published = new Set<string>()
  /** Whether the stream ends with runs of a checkpoint that was not written. */
  isPending = false
  revision = -1
  last: Checkpoint | null = null
  /** The checkpoints that this server has signed, and their revisions. */
  readonly tree = new MerkleTree()
  readonly revisions: number[] = []
  /** By their revisions. */
  readonly #logs = new Map<number, CheckpointLog>()

  /** @param begin comes before anything is read */
  constructor(
    store: StreamReader,
    keyring: Pick<Keyring, 'load'>,
    begin: () => Promise<Result<void, StoreFailure>> = async () => ok(),
  ) {
    this.#store = store
    this.#keyring = keyring
    this.#begin = begin
  }

  /** Reads what is new, and does some work before anything else is read. */
  withNew<T, E>(
    work: () => Promise<Result<T, E>>,
  ): ResultAsync<T, E | CheckpointError | KeyringFailure> {
    const next = this.#busy.then(
      async (): Promise<Result<T, E | CheckpointError | KeyringFailure>> => {
        const read = await this.#read()
        return read.isErr() ? err(read.error) : work()
      },
    )
    this.#busy = next.catch(() => {})
    return new ResultAsync(next)
  }

  /** Reads what is new. */
  read(): ResultAsync<void, CheckpointError | KeyringFailure> {
    return this.withNew(async () => ok())
  }

  async #read(): Promise<Result<void, CheckpointError | KeyringFailure>> {
    if (!this.#hasBegun) {
      const begun = await this.#begin()
      if (begun.isErr()) return err(begun.error)
      this.#hasBegun = true
    }
    for await (const entry of checkpointEntries(this.#store, { after: this.revision })) {
      if (entry.isErr()) return err(entry.error)
      const taken = await this.#take(entry.value)
      if (taken.isErr()) return err(taken.error)
    }
    return ok()
  }

  /** All changes of an entry are made at once, so that `logOf` finds the runs and the checkpoint of the revision. */
  async #take(entry: CheckpointEntry): Promise<Result<void, KeyringFailure>> {
    if ('runs' in entry) {
      this.revision = entry.revision
      const size = this.tree.size + 1
      for (const head of entry.runs)
        this.leaves.set(head.run_id, { head, hash: leafOf(head), size })
      this.isPending = true
      return ok()
    }
    const { checkpoint, keys, revision } = entry
    const isOwn = await this.#isOwn(checkpoint.key)
    if (isOwn.isErr()) return err(isOwn.error)
    this.revision = revision
    this.isPending = false
    this.last = checkpoint
    this.signers.add(checkpoint.key)
    for (const { fingerprint } of keys) this.published.add(fingerprint)
    if (!isOwn.value) return ok()
    this.tree.append(hashOfLeaf(canonicalText(checkpoint)))
    this.revisions.push(revision)
    return ok()
  }

  /** A key that is new to this process may come from a rotation. */
  async #isOwn(key: string): Promise<Result<boolean, KeyringFailure>> {
    if (!this.#own.has(key)) {
      const keys = await this.#keyring.load()
      if (keys.isErr()) return err(keys.error)
      this.#own.set(key, false)
      for (const { fingerprint } of keys.value.published.keys) this.#own.set(fingerprint, true)
    }
    return ok(this.#own.get(key) === true)
  }

  /** The last of the first `size` checkpoints of this server, with its runs and ledgers; null if there is none. */
  logOf(size: number): ResultAsync<CheckpointLog | null, CheckpointError> {
    const revision = this.revisions[size - 1]
    if (revision === undefined) return okAsync(null)
    const known = this.#logs.get(revision)
    if (known !== undefined) return okAsync(known)
    return this.#logAt(revision).map((log) => {
      if (log !== null) this.#logs.set(revision, log)
      for (const old of [...this.#logs.keys()].slice(0, -KEPT)) this.#logs.delete(old)
      return log
    })
  }

  #logAt(revision: number): ResultAsync<CheckpointLog | null, CheckpointError> {
    if (revision !== this.revision || this.last === null)
      return checkpointAt(this.#store, { revision })
    const heads = new Map([...this.leaves].map(([id, { head }]) => [id, head]))
    return okAsync({ checkpoint: this.last, heads })
  }
}
