import { createHash } from 'node:crypto'
import * as z from 'zod'
import type { PublishedKeys, RunProof } from '../../api/audit.ts'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import { Sha256 } from '../../domain/fields.ts'
import { jsonOr } from '../../lib/json-or.ts'
import { messageOf } from '../../lib/message-of.ts'
import { decodeAs } from '../../log/codec.ts'
import { canonicalText } from '../../log/commitment.ts'
import { streamOf } from '../../log/run-log.ts'
import { eventAt, firstEvents, type StreamReader } from '../../log/stream-pages.ts'
import { REDACTIONS, Redaction } from '../../redaction/redaction-ledger.ts'
import type { ReadError, RecordedEvent } from '../../store/event-store.ts'
import { keysInLog, newestSigned } from '../checkpoints/checkpoint-stream.ts'
import { AnyEntry, ledgerPages, unsignedLength } from '../ledgers.ts'
import type { Keys } from '../proofs/keyring.ts'
import { knownKeys } from '../proofs/public-keys.ts'
import { seal } from '../proofs/statements.ts'
import {
  ARTIFACTS,
  type BundlePart,
  HashedBody,
  KEYS,
  type ListedPart,
  MANIFEST,
  type Manifest,
  PROOF,
  README,
  REDACTIONS_FILE,
  readme,
  recordsPath,
} from './bundle-format.ts'
import { eventLine } from './record-lines.ts'

export type ExportDeps = {
  readonly store: StreamReader
  readonly artifacts: ArtifactSource
  readonly keys: Keys
  readonly now: Date
}

export type ExportError =
  | ReadError
  /** Something was redacted from the run after it was read. */
  | { readonly type: 'redacted_meanwhile'; readonly message: string }
  /** An artifact that the run names cannot be read now. */
  | { readonly type: 'artifact_unreachable'; readonly message: string }

/** An archive that cannot be finished. */
export class Unfinished extends Error {
  override readonly name = 'Unfinished'
  readonly why: ExportError

  constructor(why: ExportError) {
    super(`the export cannot be finished: ${JSON.stringify(why)}`)
    this.why = why
  }
}

const REDACTED_MEANWHILE = {
  type: 'redacted_meanwhile',
  message: 'something was redacted from the run while it was exported: export it again',
} as const

/**
 * The parts of an export, each made when it is requested.
 * @param mayRepeat whether the caller can still throw the export away and begin again
 * @throws Unfinished
 */
export async function* exportParts(
  { store, artifacts, keys, now }: ExportDeps,
  proof: RunProof,
  mayRepeat: () => boolean,
): AsyncGenerator<BundlePart> {
  const parts: ListedPart[] = []
  const listed = (path: string, ...pieces: readonly Buffer[]): BundlePart => {
    const hash = createHash('sha256')
    for (const piece of pieces) hash.update(piece)
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    parts.push({ path, bytes, sha256: hash.digest('hex') })
    return { path, bytes, body: inOrder(pieces) }
  }
  yield listed(README, Buffer.from(readme(proof.run_id)))
  yield listed(KEYS, jsonFile(await keysFor(store, keys.published)))
  yield listed(PROOF, jsonFile(proof))
  const lastBefore = await lastRedaction(store)
  const seen: Seen = { artifacts: new Set(), redacted: new Set() }
  for await (const { first, pages } of recordFiles(store, proof, seen)) {
    yield listed(recordsPath(first), ...pages)
  }
  // After the records: what was redacted from these has its entry by now.
  const redactions = await redactionsAbout(store, proof, seen)
  const notRead = redactions.filter(({ isRead }) => !isRead)
  const isNew = notRead.some(({ entry }) => entry > lastBefore)
  if (isNew || (notRead.length > 0 && mayRepeat())) throw new Unfinished(REDACTED_MEANWHILE)
  if (redactions.length > 0) {
    yield listed(REDACTIONS_FILE, Buffer.from(redactions.map(({ line }) => line).join('')))
  }
  const missing: string[] = []
  for (const name of seen.artifacts) {
    const found = await artifacts.read(name).catch(unreachable)
    if (found === null) {
      missing.push(name)
      continue
    }
    const { bytes, stream } = found
    // Listed by what it contains: a file that was changed must not stop the export, but be found by a verifier.
    const body = new HashedBody(stream)
    const path = `${ARTIFACTS}${name}`
    try {
      yield { path, bytes, body }
    } finally {
      // A reader may leave before the end.
      await body.close()
    }
    parts.push({ path, bytes, sha256: body.sha256 })
  }
  const unsigned = {
    type: 'retrai.export.v2',
    run_id: proof.run_id,
    records: proof.length,
    exported_at: now.toISOString(),
    parts,
    missing_artifacts: await lostOf(store, proof, seen, missing, redactions),
    ...(redactions.length > 0 && (await unsignedRedactions(store, keys))),
  } as const
  const manifest = jsonFile(seal<Manifest>(unsigned, keys.signer))
  yield { path: MANIFEST, bytes: manifest.length, body: inOrder([manifest]) }
}

/** The artifact may be there, so it must not be listed as missing. */
function unreachable(cause: unknown): never {
  throw new Unfinished({ type: 'artifact_unreachable', message: messageOf(cause) })
}

async function* inOrder(pieces: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  yield* pieces
}

const jsonFile = (value: object): Buffer => Buffer.from(`${canonicalText(value)}\n`)

/** What the records that were read name. */
type Seen = {
  /** By the first record that names each. */
  readonly artifacts: Set<string>
  /** Places of strings that are redacted. */
  readonly redacted: Set<string>
}

/** A file of records ends with the first page after this many bytes. */
const FILE_BYTES = 1024 * 1024

/** The records in files of about a megabyte, since an archive names the size of a file before its contents. */
async function* recordFiles(
  store: StreamReader,
  { run_id, length }: RunProof,
  seen: Seen,
): AsyncGenerator<{ readonly first: number; readonly pages: readonly Buffer[] }> {
  let first = 0
  let pages: Buffer[] = []
  let bytes = 0
  let read = 0
  for await (const page of firstEvents(store, streamOf(run_id), length)) {
    if (page.isErr()) throw new Unfinished(page.error)
    for (const event of page.value) noteNames(event, seen)
    const lines = page.value.map((event) => `${eventLine(event, 'plain')}\n`)
    const content = Buffer.from(lines.join(''))
    pages.push(content)
    bytes += content.length
    read += page.value.length
    if (bytes < FILE_BYTES && read < length) continue
    yield { first, pages }
    first = read
    pages = []
    bytes = 0
  }
}

const Names = z.object({ payload: z.object({ sha256: Sha256 }) })
const Redacted = z.object({ redacted: z.record(z.string(), z.string()) })

function noteNames({ type, revision, data, metadata }: RecordedEvent, seen: Seen): void {
  const named = type === 'tool_result' ? Names.safeParse(jsonOr(data, null)).data : undefined
  if (named !== undefined) seen.artifacts.add(named.payload.sha256)
  if (!metadata.includes('"redacted"')) return
  const { redacted } = Redacted.safeParse(jsonOr(metadata, null)).data ?? { redacted: {} }
  for (const pointer of Object.keys(redacted)) seen.redacted.add(placeOf(revision, pointer))
}

const placeOf = (seq: number, pointer: string): string => `${seq}${pointer}`

/** The seq of the last entry in the ledger of redactions; -1 for an empty ledger. */
async function lastRedaction(store: StreamReader): Promise<number> {
  const last = await eventAt(store, REDACTIONS.stream, 'end')
  if (last.isErr()) throw new Unfinished(last.error)
  return last.value?.revision ?? -1
}

type ExportedRedaction = {
  /** Its seq in the ledger. */
  readonly entry: number
  readonly line: string
  readonly artifact: string | undefined
  /** Whether all strings that it names in the exported records were read as redacted. */
  readonly isRead: boolean
}

/** The redactions of a run, and of artifacts that the run names: another run may name the same artifact. */
async function redactionsAbout(
  store: StreamReader,
  { run_id: runId, length }: RunProof,
  seen: Seen,
): Promise<readonly ExportedRedaction[]> {
  const found: ExportedRedaction[] = []
  for await (const page of ledgerPages(store, 'redactions')) {
    if (page.isErr()) throw new Unfinished(page.error)
    for (const event of page.value) {
      const decoded = decodeAs(Redaction, event)
      if (decoded.isErr()) continue
      const { run_id, seq, redacted, artifact } = decoded.value.record.payload
      const isNamed = artifact !== undefined && seen.artifacts.has(artifact)
      if (run_id !== runId && !isNamed) continue
      const isExported = run_id === runId && seq < length
      const isRead =
        !isExported || Object.keys(redacted).every((at) => seen.redacted.has(placeOf(seq, at)))
      const line = `${eventLine(event, 'plain')}\n`
      found.push({ entry: event.revision, line, artifact, isRead })
    }
  }
  return found
}

/** The keys of the server, and of other servers of the log that have signed redactions. */
async function keysFor(store: StreamReader, own: PublishedKeys): Promise<PublishedKeys> {
  const signed = new Set<string>()
  for await (const page of ledgerPages(store, 'redactions')) {
    if (page.isErr()) throw new Unfinished(page.error)
    for (const event of page.value) {
      const entry = decodeAs(AnyEntry, event)
      if (entry.isOk() && entry.value.meta.seal) signed.add(entry.value.meta.seal.key)
    }
  }
  for (const { fingerprint } of own.keys) signed.delete(fingerprint)
  if (signed.size === 0) return own
  const others = (await keysInLog(store)).unwrapOr([])
  return { keys: [...own.keys, ...others.filter(({ fingerprint }) => signed.has(fingerprint))] }
}

/** By a checkpoint that this server has signed: what is in the ledger may be forged. Without one, by the ledger. */
async function unsignedRedactions(store: StreamReader, { published }: Keys) {
  const checkpoint = await newestSigned(store, knownKeys(published))
  const known = checkpoint.unwrapOr(null)?.unsigned_entries?.redactions
  if (known !== undefined) return { unsigned_redactions: known }
  const found = await unsignedLength(store, 'redactions')
  return found.map((unsigned_redactions) => ({ unsigned_redactions })).unwrapOr(undefined)
}

/** The artifacts that the server has lost: those that are missing, except those that were redacted. */
async function lostOf(
  store: StreamReader,
  proof: RunProof,
  seen: Seen,
  missing: readonly string[],
  redactions: readonly ExportedRedaction[],
): Promise<readonly string[]> {
  const without = (known: readonly ExportedRedaction[]) => {
    const redacted = new Set(known.map(({ artifact }) => artifact))
    return missing.filter((name) => !redacted.has(name))
  }
  const lost = without(redactions)
  if (lost.length === 0) return lost
  // An artifact may have been redacted after the ledger was read.
  const now = await redactionsAbout(store, proof, seen)
  if (without(now).length < lost.length) throw new Unfinished(REDACTED_MEANWHILE)
  return lost
}
