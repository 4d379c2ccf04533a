import type { KeyObject } from 'node:crypto'
import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow'
import type { Checkpoint, RunHead } from '../../api/audit.ts'
import {
  CHECKPOINT_STREAM,
  type CheckpointError,
  type CheckpointLog,
  checkpointLogs,
  type StoredCheckpoint,
} from '../../checkpoints/checkpoint-stream.ts'
import type { KeptCheckpoint } from '../../checkpoints/kept-checkpoints.ts'
import { leafOf, merkleRoot, sortedHeads } from '../../checkpoints/merkle.ts'
import {
  checkpointHash,
  checkSeal,
  type KnownKeys,
  knownKeys,
} from '../../checkpoints/public-keys.ts'
import { GENESIS, uuidOfHash } from '../../log/chain.ts'
import { canonicalText } from '../../log/commitment.ts'
import { readLogId } from '../../log/log-identity.ts'
import { streamOf } from '../../log/run-log.ts'
import { eventAt, type StreamReader } from '../../log/stream-pages.ts'
import { retentionIndexOf } from '../../retention/ledger.ts'
import { ledgerOf } from '../ledgers.ts'
import { KeptHeads } from './kept-heads.ts'
import { type Finding, finding } from './report.ts'

/** What is wrong with the signature of a checkpoint; null if nothing is. */
function sealFinding(checkpoint: Checkpoint, keys: KnownKeys): Finding | null {
  const seal = checkSeal(checkpoint, keys)
  if (seal === 'good') return null
  const message =
    seal === 'bad'
      ? `its signature is not from the key ${checkpoint.key}`
      : `nobody has published the key ${checkpoint.key}, so its signature cannot be verified`
  return about('signature', checkpoint, message)
}

/** What is wrong if a checkpoint should follow another one, or be the first (null); null if nothing is. */
function linkFinding(before: Checkpoint | null, checkpoint: Checkpoint): Finding | null {
  const number = before === null ? 0 : before.number + 1
  if (checkpoint.number !== number) {
    return about('missing', checkpoint, `number ${number} is expected in its place`)
  }
  const previous = before === null ? GENESIS : checkpointHash(before)
  if (before !== null && before.log_id !== checkpoint.log_id) {
    const message = `it belongs to the log ${checkpoint.log_id}, and the previous one to ${before.log_id}`
    return about('changed', checkpoint, message)
  }
  const unsigned = before?.unsigned_entries
  if (unsigned && canonicalText(unsigned) !== canonicalText(checkpoint.unsigned_entries ?? {})) {
    const message = 'it names other entries as unsigned than the checkpoint before it'
    return about('changed', checkpoint, message)
  }
  if (checkpoint.previous === previous) return null
  return about('unlinked', checkpoint, 'it does not follow the checkpoint before it')
}

/** What is wrong if checkpoints should be made over these runs. */
export async function rootFindings(...logs: readonly (CheckpointLog | null)[]): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const log of logs) {
    if (log === null) continue
    const { checkpoint, heads } = log
    const root = await merkleRoot(sortedHeads(heads.values()).map(leafOf))
    if (root.toString('hex') === checkpoint.root && heads.size === checkpoint.runs) continue
    const message = 'the runs that are listed for it do not give its root'
    findings.push(about('changed', checkpoint, message))
  }
  return findings
}

const about = (problem: Finding['problem'], { number }: Checkpoint, message: string): Finding =>
  finding(problem, `checkpoint ${number}`, message)

export type VerifiedCheckpoints = {
  /** The given keys, and those that servers have published in the log. */
  readonly keys: KnownKeys
  /** The last checkpoint; null for a log without checkpoints. */
  readonly latest: CheckpointLog | null
  /** The checkpoint with the number of the one that the reader has kept; null if it does not exist. */
  readonly wanted: CheckpointLog | null
  readonly findings: readonly Finding[]
}

/** What is wrong if a log should still have a checkpoint that somebody has kept. */
function keptFinding(kept: Checkpoint, there: Checkpoint | null, keys: KnownKeys): Finding | null {
  const sealed = sealFinding(kept, keys)
  if (sealed !== null) return sealed
  if (there === null) return about('missing', kept, 'the store does not have it any more')
  if (checkpointHash(there) === checkpointHash(kept)) return null
  return about('changed', kept, 'the store has another checkpoint under this number')
}

/** What is wrong if the log does not have the checkpoint in a file beside it, or if nobody can know which one that was. */
export function lostFinding(kept: KeptCheckpoint): Finding {
  const { file, checkpoint } = kept
  if (checkpoint === null) {
    const message = `it must hold a checkpoint that the log has, and cannot be read (${kept.why}), so it is not known whether the log was put back to an older state. If somebody damaged it by mistake, delete that file`
    return finding('unreadable', file, message)
  }
  const message = `the log does not have it, and ${file} beside the log does: the log was put back to an older state, or replaced. If somebody did that on purpose, delete that file`
  return about('missing', checkpoint, message)
}

/** As verified in a log; `lost` are the checkpoints beside it that it does not have. */
type InLog = VerifiedCheckpoints & { readonly lost: readonly KeptCheckpoint[] }

/**
 * Verifies the checkpoints of a log: signatures, order, and the roots of the last and of the kept one.
 * @param kept the checkpoint that the reader has kept; null without one
 * @param beside those beside the log
 */
export async function verifyCheckpoints(
  store: StreamReader,
  given: KnownKeys,
  kept: Checkpoint | null = null,
  beside: readonly KeptCheckpoint[] = [],
): Promise<Result<InLog, CheckpointError>> {
  const check = new CheckpointsCheck(given, kept)
  let lost = beside
  const damaged: Finding[] = []
  for await (const entry of checkpointLogs(store)) {
    if (entry.isErr()) {
      const { type, message } = entry.error
      if (type !== 'damaged_record') return err(entry.error)
      damaged.push(finding('unreadable', CHECKPOINT_STREAM, message, entry.error.seq))
      // Nobody knows which checkpoints follow.
      lost = []
      break
    }
    check.take(entry.value)
    const { checkpoint } = entry.value
    lost = lost.filter((each) => !isSame(checkpoint, each.checkpoint))
  }
  const id = await readLogId(store)
  if (id.isErr() && id.error.type !== 'log_id_unreadable') return err(id.error)
  const checked = check.finish(id.unwrapOr(null))
  const roots = await rootFindings(checked.latest, checked.wanted)
  return ok({ ...checked, lost, findings: [...damaged, ...checked.findings, ...roots] })
}

const isSame = (one: Checkpoint, other: Checkpoint | null): boolean =>
  one.number === other?.number && checkpointHash(one) === checkpointHash(other)

/** Gets the checkpoints of a log in order, and their runs if they are there. */
export class CheckpointsCheck {
  readonly #kept: Checkpoint | null
  readonly #findings: Finding[] = []
  readonly #keys: Map<string, KeyObject>
  /** Checkpoints whose keys may be published later in the log. */
  readonly #unknown: Checkpoint[] = []
  #last: CheckpointLog | null = null
  #wanted: CheckpointLog | null = null

  constructor(given: KnownKeys, kept: Checkpoint | null) {
    this.#keys = new Map(given)
    this.#kept = kept
  }

  take({ checkpoint, heads, keys }: Omit<StoredCheckpoint, 'revision'>): void {
    for (const [fingerprint, key] of knownKeys({ keys })) this.#keys.set(fingerprint, key)
    if (this.#keys.has(checkpoint.key)) this.#find(sealFinding(checkpoint, this.#keys))
    else this.#unknown.push(checkpoint)
    this.#find(linkFinding(this.#last?.checkpoint ?? null, checkpoint))
    this.#last = { checkpoint, heads }
    if (checkpoint.number !== this.#kept?.number) return
    this.#wanted = { checkpoint, heads: new Map(heads) }
  }

  /** @param logId null if the log has no id that can be read; left out if that is not known */
  finish(logId?: string | null): VerifiedCheckpoints {
    for (const each of this.#unknown) this.#find(sealFinding(each, this.#keys))
    const last = this.#last?.checkpoint ?? null
    if (last !== null && logId !== undefined && last.log_id !== logId) {
      const message = `it belongs to the log ${last.log_id}, and the id of this log is ${logId ?? 'unknown'}`
      this.#find(about('changed', last, message))
    }
    const wanted = this.#wanted
    const there = wanted?.checkpoint ?? null
    if (this.#kept !== null) this.#find(keptFinding(this.#kept, there, this.#keys))
    return {
      keys: this.#keys,
      latest: this.#last,
      wanted,
      findings: this.#findings,
    }
  }

  #find(found: Finding | null): void {
    if (found !== null) this.#findings.push(found)
  }
}

/**
 * Verifies the checkpoints, and that each run and ledger in the last one is in the log with the record that it names.
 * Reads only the id of one event of each, because ids are made from hashes.
 * @param beside the checkpoints beside the log
 * @returns what is wrong, apart from the checkpoints that the log does not have: these are `lost`
 */
export const verifyHeads = (
  store: StreamReader,
  keys: KnownKeys,
  beside: readonly KeptCheckpoint[],
): ResultAsync<Pick<InLog, 'findings' | 'lost'>, CheckpointError> =>
  safeTry(async function* () {
    const { latest, lost, findings } = yield* await verifyCheckpoints(store, keys, null, beside)
    const named = latest?.heads ?? new Map<string, RunHead>()
    const heads = new KeptHeads(named, 'the last checkpoint of this log')
    const lengths = new Map<string, number>()
    for (const { run_id, length, head } of named.values()) {
      const stream = ledgerOf(run_id) === null ? streamOf(run_id) : run_id
      const event = yield* eventAt(store, stream, length - 1)
      if (event !== null) {
        heads.see(run_id, length - 1, event.id === uuidOfHash(head) ? head : event.id)
        continue
      }
      const end = yield* eventAt(store, stream, 'end')
      lengths.set(run_id, end === null ? 0 : end.revision + 1)
    }
    const retention = yield* retentionIndexOf(store)
    const ofHeads = heads.findings((id) => lengths.get(id) ?? 0, retention)
    return ok({ findings: [...findings, ...ofHeads], lost })
  })
