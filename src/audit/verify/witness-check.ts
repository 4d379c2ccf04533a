import { text } from 'node:stream/consumers'
import { err, ok, type Result, safeTry } from 'neverthrow'
import { type Checkpoint, PublishedKeys } from '../../api/audit.ts'
import { LogState } from '../../api/log.ts'
import { MerkleTree } from '../../lib/merkle-tree.ts'
import { hashOfLeaf, readTreeNote } from '../../lib/note-check.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { StreamReader } from '../../log/stream-pages.ts'
import { checkpointEntries } from '../checkpoints/checkpoint-stream.ts'
import { type CosignedNote, cosignatureEntries } from '../witness/cosignatures.ts'
import { cosignersOf, missingWitnesses, type TrustedWitnesses } from './log-check.ts'
import type { Finding, SeenCheckpoint } from './report.ts'
import { readCheckpoints, type ServerReader } from './verify-server.ts'

/** What a log or a server shows to those who ask what witnesses have seen. */
type Shown = {
  /** Of the log, oldest first. */
  readonly checkpoints: readonly Checkpoint[]
  readonly notes: readonly CosignedNote[]
  /** The checkpoint that must have been seen; undefined if there is none. */
  readonly newest: Checkpoint | undefined
}

/** How much older than the newest checkpoint a cosignature may be, if the log extends what was signed. */
const FRESH_MS = 60_000

/**
 * Compares the checkpoints of a log with what witnesses have signed.
 * @returns `kept`: the newest checkpoint that a quorum has seen, to compare all records with; null if there is none
 */
export function checkWitnesses({ checkpoints, notes, newest }: Shown, trusted: TrustedWitnesses) {
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
    if (problem !== null) findings.push(finding('changed', `${names || 'A note'} ${problem}`))
    else
      for (const each of signers)
        best.set(each.name, newer(best.get(each.name), { ...each, number, newest: newestNumber }))
  }
  const seen = [...best.values()].sort((a, b) => b.number - a.number)
  const since = Date.parse(newest?.signed_at ?? '') - FRESH_MS
  const isFresh = ({ number, at }: SeenCheckpoint): boolean =>
    number >= newestNumber || Date.parse(at) > since
  const missing = missingWitnesses(trusted, seen.filter(isFresh))
  if (missing !== null) findings.push(finding('unwitnessed', missing))
  const last = seen[Math.min(trusted.quorum, seen.length) - 1]?.number
  const kept = checkpoints.find(({ number }) => number === last) ?? null
  return { findings, kept, seen }
}

const newer = <T extends { readonly number: number }>(before: T | undefined, now: T): T =>
  before !== undefined && before.number > now.number ? before : now

const finding = (problem: Finding['problem'], message: string): Finding => {
  return { problem, where: 'log of checkpoints', seq: null, message }
}

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
  const [checkpoints, notes]: [Checkpoint[], CosignedNote[]] = [[], []]
  for await (const entry of checkpointEntries(store)) {
    if (entry.isErr()) return err(entry.error.message)
    if ('checkpoint' in entry.value) checkpoints.push(entry.value.checkpoint)
  }
  for await (const entry of cosignatureEntries(store)) {
    if (entry.isErr()) return err(entry.error.message)
    if ('note' in entry.value) notes.push(entry.value)
  }
  return ok({ checkpoints, notes, newest: checkpoints.at(-1) })
}

/** What a server answers: its newest note, and those that the trusted witnesses have signed. */
export async function shownByServer(
  server: ServerReader,
  { keys }: TrustedWitnesses,
): Promise<Result<Shown, string>> {
  const textOf = async (path: string) => {
    const got = await server.stream(path)
    return got.isErr() ? err(got.error.message) : ok(await text(got.value))
  }
  return safeTry(async function* () {
    const read = await server.json('/api/log', LogState)
    const { size, witnesses } = yield* read.mapErr(({ message }) => message)
    const published = await server.json('/api/keys', PublishedKeys)
    const own = yield* published.mapErr(({ message }) => message)
    const fingerprints = own.keys.map(({ fingerprint }) => fingerprint)
    const ofTrusted = witnesses.filter(({ name }) => keys.some((key) => key.name === name))
    const sizes = new Set([size, ...ofTrusted.flatMap((each) => each.size ?? [])])
    const notes: CosignedNote[] = []
    for (const each of sizes) {
      const note = readTreeNote(yield* await textOf(`/api/log/checkpoint?size=${each}`))
      if (note === null) return err('The server answers with something else than a note.')
      notes.push({ ...note, keys: fingerprints })
    }
    // Read last, so that they reach as far as the notes.
    const checkpoints = yield* await readCheckpoints(server)
    const newest = checkpoints.filter(({ key }) => fingerprints.includes(key))[size - 1]
    return ok({ checkpoints, notes, newest })
  })
}
