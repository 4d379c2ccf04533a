import type { KeyObject } from 'node:crypto'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { Checkpoint, RunHead } from '../../api/audit.ts'
import { GENESIS } from '../../log/chain.ts'
import { canonicalText } from '../../log/commitment.ts'
import { readLogId } from '../../log/log-id.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import {
  type CheckpointEntry,
  type CheckpointError,
  type CheckpointLog,
  checkpointEntries,
} from '../checkpoints/checkpoint-stream.ts'
import type { KeptCheckpoint, UnreadableCheckpoint } from '../checkpoints/kept-checkpoints.ts'
import { MerkleTree } from '../checkpoints/merkle.ts'
import { leafOf } from '../checkpoints/run-heads.ts'
import { type KnownKeys, knownKeys } from '../proofs/public-keys.ts'
import { checkpointHash, checkSeal } from '../proofs/statements.ts'
import type { CheckpointSigner, Finding } from './report.ts'

/** What is wrong with the signature of a checkpoint; null if nothing is. */
export function sealFinding(checkpoint: Checkpoint, keys: KnownKeys): Finding | null {
  const seal = checkSeal(checkpoint, keys)
  if (seal === 'good') return null
  const message =
    seal === 'bad'
      ? `its signature is not from the key ${checkpoint.key}`
      : `nobody has published the key ${checkpoint.key}, so its signature cannot be verified`
  return finding('signature', checkpoint, message)
}

/** What is wrong if a checkpoint should follow another one, or be the first (null); null if nothing is. */
export function linkFinding(before: Checkpoint | null, checkpoint: Checkpoint): Finding | null {
  const number = before === null ? 0 : before.number + 1
  if (checkpoint.number !== number) {
    return finding('missing', checkpoint, `number ${number} is expected in its place`)
  }
  const previous = before === null ? GENESIS : checkpointHash(before)
  if (before !== null && before.log_id !== checkpoint.log_id) {
    const message = `it belongs to the log ${checkpoint.log_id}, and the previous one to ${before.log_id}`
    return finding('changed', checkpoint, message)
  }
  const unsigned = before?.unsigned_entries
  if (unsigned && canonicalText(unsigned) !== canonicalText(checkpoint.unsigned_entries ?? {})) {
    const message = 'it names other entries as unsigned than the checkpoint before it'
    return finding('changed', checkpoint, message)
  }
  if (checkpoint.previous === previous) return null
  return finding('unlinked', checkpoint, 'it does not follow the checkpoint before it')
}

/** What is wrong if a checkpoint should be made over these runs; null if nothing is. */
export function rootFinding(checkpoint: Checkpoint, heads: Iterable<RunHead>): Finding | null {
  const tree = new MerkleTree()
  grow(tree, heads)
  return treeFinding(checkpoint, tree)
}

function grow(tree: MerkleTree, heads: Iterable<RunHead>): void {
  const leaves = new Map<string, Uint8Array>()
  for (const head of heads) leaves.set(head.run_id, leafOf(head))
  for (const _ of tree.put(leaves));
}

function treeFinding(checkpoint: Checkpoint, { root, size }: MerkleTree): Finding | null {
  if (root.toString('hex') === checkpoint.root && size === checkpoint.runs) return null
  return finding('changed', checkpoint, 'the runs that are listed for it do not give its root')
}

function finding(problem: Finding['problem'], { number }: Checkpoint, message: string): Finding {
  return { problem, where: `checkpoint ${number}`, seq: null, message }
}

export type VerifiedCheckpoints = {
  readonly count: number
  /** The given keys, and those that servers have published in the log. */
  readonly keys: KnownKeys
  /** How many checkpoints each key has signed. */
  readonly signed: ReadonlyMap<string, number>
  /** The log as of the last checkpoint; null if there is no checkpoint. */
  readonly latest: CheckpointLog | null
  /** The log as of the checkpoint with the wanted number; null if it does not exist. */
  readonly wanted: CheckpointLog | null
  /** The checkpoints beside the log that the log does not have. */
  readonly lost: readonly KeptCheckpoint[]
  readonly findings: readonly Finding[]
}

/** Which keys have signed checkpoints. @param own the keys of the server that is verified */
export const signersOf = (
  signed: ReadonlyMap<string, number>,
  own: KnownKeys,
): readonly CheckpointSigner[] =>
  [...signed].map(([key, checkpoints]) => ({ key, own: own.has(key), checkpoints }))

export const countSigner = (signed: Map<string, number>, { key }: Checkpoint): void => {
  signed.set(key, (signed.get(key) ?? 0) + 1)
}

const isSame = (one: Checkpoint, other: Checkpoint): boolean =>
  one.number === other.number && checkpointHash(one) === checkpointHash(other)

/** What is wrong if a checkpoint is in a file beside the log, and not in the log. */
export const lostFinding = ({ file, checkpoint }: KeptCheckpoint): Finding =>
  finding(
    'missing',
    checkpoint,
    `the log does not have it, and ${file} beside the log does: the log was put back to an older state, or replaced. If somebody did that on purpose, delete that file`,
  )

/** What is wrong if nobody can know which checkpoint a file beside the log has held. */
export const unreadableFinding = ({ file, why }: UnreadableCheckpoint): Finding => ({
  problem: 'unreadable',
  where: file,
  seq: null,
  message: `it must hold a checkpoint that the log has, and cannot be read (${why}), so it is not known whether the log was put back to an older state. If somebody damaged it by mistake, delete that file`,
})

type VerifyOptions = {
  /** The number of a checkpoint of which the runs are needed. */
  readonly wanted?: number | null
  /** The roots of all checkpoints, or only of the last one, which costs less. */
  readonly roots?: 'all' | 'last'
  /** What the log must have. */
  readonly kept?: readonly KeptCheckpoint[]
}

/** Verifies the checkpoints of a log: signatures, order, roots. */
export function verifyCheckpoints(
  store: StreamReader,
  given: KnownKeys,
  options: VerifyOptions = {},
): ResultAsync<VerifiedCheckpoints, CheckpointError> {
  const verify = async (): Promise<Result<VerifiedCheckpoints, CheckpointError>> => {
    const check = new CheckpointsCheck(given, options)
    for await (const entry of checkpointEntries(store, -1)) {
      if (entry.isErr()) return err(entry.error)
      check.take(entry.value)
    }
    const id = await readLogId(store)
    if (id.isErr() && id.error.type !== 'log_id_unreadable') return err(id.error)
    return ok(check.finish(id.unwrapOr(null)))
  }
  return new ResultAsync(verify())
}

/** Gets the entries of the stream in order. */
class CheckpointsCheck {
  readonly #options: Required<VerifyOptions>
  readonly #findings: Finding[] = []
  readonly #keys: Map<string, KeyObject>
  readonly #signed = new Map<string, number>()
  /** Checkpoints whose keys may be published later in the log. */
  readonly #unknown: Checkpoint[] = []
  readonly #tree = new MerkleTree()
  readonly #heads = new Map<string, RunHead>()
  #pending: RunHead[] = []
  #last: Checkpoint | null = null
  #wanted: CheckpointLog | null = null
  #lost: readonly KeptCheckpoint[]
  #revision = -1
  #count = 0

  constructor(given: KnownKeys, options: VerifyOptions) {
    this.#options = { wanted: null, roots: 'all', kept: [], ...options }
    this.#keys = new Map(given)
    this.#lost = this.#options.kept
  }

  take(entry: CheckpointEntry): void {
    this.#revision = entry.revision
    if ('runs' in entry) {
      this.#pending.push(...entry.runs)
      return
    }
    for (const head of this.#pending) this.#heads.set(head.run_id, head)
    if (this.#options.roots === 'all') grow(this.#tree, this.#pending)
    this.#pending = []
    for (const [fingerprint, key] of knownKeys(entry)) this.#keys.set(fingerprint, key)
    this.#takeCheckpoint(entry.checkpoint)
  }

  #takeCheckpoint(checkpoint: Checkpoint): void {
    const { wanted, roots } = this.#options
    this.#count += 1
    countSigner(this.#signed, checkpoint)
    this.#lost = this.#lost.filter((each) => !isSame(each.checkpoint, checkpoint))
    const isKnown = this.#keys.has(checkpoint.key)
    if (!isKnown) this.#unknown.push(checkpoint)
    this.#find(isKnown ? sealFinding(checkpoint, this.#keys) : null)
    this.#find(linkFinding(this.#last, checkpoint))
    this.#find(roots === 'all' ? treeFinding(checkpoint, this.#tree) : null)
    this.#last = checkpoint
    if (checkpoint.number === wanted) this.#wanted = this.#logAt(checkpoint, new Map(this.#heads))
  }

  /** @param logId null if the log has no id that can be read */
  finish(logId: string | null): VerifiedCheckpoints {
    for (const each of this.#unknown) this.#find(sealFinding(each, this.#keys))
    const last = this.#last
    if (last !== null && this.#options.roots === 'last') {
      this.#find(rootFinding(last, this.#heads.values()))
    }
    if (last !== null && last.log_id !== logId) {
      const message = `it belongs to the log ${last.log_id}, and the id of this log is ${logId ?? 'unknown'}`
      this.#find(finding('changed', last, message))
    }
    return {
      count: this.#count,
      keys: this.#keys,
      signed: this.#signed,
      latest: last && this.#logAt(last, this.#heads),
      wanted: this.#wanted,
      lost: this.#lost,
      findings: this.#findings,
    }
  }

  #logAt(checkpoint: Checkpoint, heads: ReadonlyMap<string, RunHead>): CheckpointLog {
    return { revision: this.#revision, checkpoint, heads, pending: [...this.#pending] }
  }

  #find(found: Finding | null): void {
    if (found !== null) this.#findings.push(found)
  }
}
