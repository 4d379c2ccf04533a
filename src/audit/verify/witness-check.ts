import { err, ok, type Result } from 'neverthrow'
import type { Checkpoint } from '../../api/audit.ts'
import { checkpointLogs } from '../../checkpoints/checkpoint-stream.ts'
import { NO_ANCHORS, type TrustAnchors } from '../../checkpoints/public-keys.ts'
import { type CosignedNote, cosignatureEntries } from '../../checkpoints/witness/cosignatures.ts'
import { MerkleTree } from '../../lib/merkle-tree.ts'
import { hashOfLeaf } from '../../lib/note-check.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { cosignersOf, missingWitnesses, type TrustedWitnesses } from './log-check.ts'
import { type Finding, finding, type SeenCheckpoint } from './report.ts'

/** Whom a reader trusts, and what must still be there: a checkpoint that the reader has kept, or what witnesses have seen. */
export type Demands = {
  readonly anchors?: TrustAnchors
  readonly kept?: Checkpoint | null
  readonly witnesses?: TrustedWitnesses | null
}

/** The same, once it is known what witnesses have seen: then `kept` is the newest checkpoint that enough of them have. */
export type Wanted = {
  readonly anchors: TrustAnchors
  readonly kept: Checkpoint | null
  readonly seen: Seen | null
}

/** @param shown reads what a log or server shows; only called if there are witnesses */
export async function wantedBy(
  { anchors = NO_ANCHORS, kept = null, witnesses = null }: Demands,
  shown: (trusted: TrustedWitnesses) => PromiseLike<Result<Shown, string>>,
): Promise<Result<Wanted, string>> {
  if (witnesses === null) return ok({ anchors, kept, seen: null })
  return (await shown(witnesses)).map((each) => {
    const seen = checkWitnesses(each, witnesses)
    return { anchors, kept: seen.kept, seen }
  })
}

/** What a log or a server shows to those who ask what witnesses have seen. */
export type Shown = {
  /** Of the log, oldest first. */
  readonly checkpoints: readonly Checkpoint[]
  readonly notes: readonly CosignedNote[]
  /** The checkpoint that must have been seen; undefined if there is none. */
  readonly newest: Checkpoint | undefined
}

/** What findings are about. */
const LOG = 'log of checkpoints'
/** How much older than the newest checkpoint a cosignature may be, if the log extends what was signed. */
const FRESH_MS = 60_000

/** What witnesses have seen. `kept` is the newest checkpoint that a quorum has seen; null without one. */
type Seen = {
  readonly findings: readonly Finding[]
  readonly kept: Checkpoint | null
  readonly seen: readonly SeenCheckpoint[]
}

/** Compares the checkpoints of a log with what witnesses have signed. */
export function checkWitnesses(
  { checkpoints, notes, newest }: Shown,
  trusted: TrustedWitnesses,
): Seen {
  const findings: Finding[] = []
  const newestNumber = newest?.number ?? -1
  const best = new Map<string, SeenCheckpoint>()
  const trees = new Map<string, OwnTree>()
  for (const note of notes) {
    const name = note.keys.join()
    const own = trees.get(name) ?? treeOf(checkpoints, note.keys)
    trees.set(name, own)
    const problem = problemOf(note, own)
    const { number = -1 } = own.checkpoints[note.head.size - 1] ?? {}
    const signers = cosignersOf(note, trusted.keys)
    const names = signers.map(({ name: each }) => each).join(' and ')
    if (problem !== null) findings.push(finding('changed', LOG, `${names || 'A note'} ${problem}`))
    else
      for (const each of signers)
        best.set(each.name, newer(best.get(each.name), { ...each, number, newest: newestNumber }))
  }
  const seen = [...best.values()].sort((a, b) => b.number - a.number)
  const since = Date.parse(newest?.signed_at ?? '') - FRESH_MS
  const isFresh = ({ number, at }: SeenCheckpoint): boolean =>
    number >= newestNumber || Date.parse(at) > since
  const missing = missingWitnesses(trusted, seen.filter(isFresh))
  if (missing !== null) findings.push(finding('unwitnessed', LOG, missing))
  const last = seen[Math.min(trusted.quorum, seen.length) - 1]?.number
  const kept = checkpoints.find(({ number }) => number === last) ?? null
  return { findings, kept, seen }
}

const newer = <T extends { readonly number: number }>(before: T | undefined, now: T): T =>
  before !== undefined && before.number > now.number ? before : now

type OwnTree = { readonly checkpoints: readonly Checkpoint[]; readonly tree: MerkleTree }

/** The checkpoints that some keys have signed, as their server has them in its tree. */
function treeOf(all: readonly Checkpoint[], keys: readonly string[]): OwnTree {
  const checkpoints = all.filter(({ key }) => keys.includes(key))
  const tree = new MerkleTree()
  for (const checkpoint of checkpoints) tree.append(hashOfLeaf(canonicalText(checkpoint)))
  return { checkpoints, tree }
}

/** What is wrong if a tree was signed with which the checkpoints do not begin; null if nothing is. */
function problemOf({ head }: CosignedNote, { tree }: OwnTree): string | null {
  const { origin, size, root } = head
  if (size > tree.size)
    return `has seen ${size} checkpoints of ${origin}, and there are ${tree.size}`
  const isSame = tree.root(size).equals(root)
  return isSame ? null : `has seen other checkpoints of ${origin}: the first ${size} were rewritten`
}

/** What a log holds. */
export async function shownByLog(store: StreamReader): Promise<Result<Shown, string>> {
  const checkpoints: Checkpoint[] = []
  const notes: CosignedNote[] = []
  for await (const entry of checkpointLogs(store)) {
    if (entry.isErr()) return err(entry.error.message)
    checkpoints.push(entry.value.checkpoint)
  }
  for await (const entry of cosignatureEntries(store)) {
    if (entry.isErr()) return err(entry.error.message)
    if ('note' in entry.value) notes.push(entry.value)
  }
  return ok({ checkpoints, notes, newest: checkpoints.at(-1) })
}
