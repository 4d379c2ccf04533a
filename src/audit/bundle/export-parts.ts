import { pipeline, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { createGzip } from 'node:zlib'
import type { LogProof, PublishedKeys, RunProof } from '../../api/audit.ts'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import { keysInLog, newestSigned } from '../../checkpoints/checkpoint-stream.ts'
import { type Keys, seal } from '../../checkpoints/keyring.ts'
import { unsignedLength } from '../../checkpoints/ledger-ends.ts'
import { knownKeys } from '../../checkpoints/public-keys.ts'
import type { StampProof } from '../../checkpoints/witness/log-proofs.ts'
import { artifactsOf, NAMING_KINDS } from '../../domain/named-artifacts.ts'
import { messageOf } from '../../lib/message-of.ts'
import { sha256 } from '../../lib/sha256.ts'
import { decode, decodeAs } from '../../log/codec.ts'
import { canonicalText } from '../../log/commitment.ts'
import { streamOf } from '../../log/run-log.ts'
import { type StreamReader, streamPages } from '../../log/stream-pages.ts'
import { Redaction } from '../../redaction/redaction.ts'
import { type LoggedRedaction, RedactionIndex } from '../../redaction/redaction-index.ts'
import type { ReadError, RecordedEvent } from '../../store/event-store.ts'
import { ledgerPages } from '../ledgers.ts'
import { eventLine } from '../stored-events.ts'
import type { TreeAt } from '../verify/files-check.ts'
import {
  ARTIFACTS,
  type BundlePart,
  HashedBody,
  KEYS,
  type ListedPart,
  LOG_PROOF,
  MANIFEST,
  type Manifest,
  PROOF,
  README,
  REDACTIONS_FILE,
  readme,
  recordsPath,
  STAMP,
} from './bundle-format.ts'
import { exportedObjects } from './export-objects.ts'
import { tarOf } from './tar-parts.ts'

export type ExportDeps = {
  readonly store: StreamReader
  readonly artifacts: ArtifactSource
  readonly keys: Keys
  readonly now: Date
  /** Whether all files of the first and the last snapshot are exported, and not only those that differ. */
  readonly files?: boolean
  /** Where the run is in the log of checkpoints; null before a checkpoint covers it. */
  readonly log?: LogProof | null
  readonly stamped?: StampProof | null
}

export type ExportError =
  | ReadError
  /** Something was redacted from the run after it was read. */
  | { readonly type: 'redacted_meanwhile'; readonly message: string }
  /** An artifact that the run names cannot be read now. */
  | { readonly type: 'artifact_unreachable'; readonly message: string }

/** An archive that cannot be finished. */
export class Unfinished extends Error {
  readonly why: ExportError

  constructor(why: ExportError) {
    super(`the export cannot be finished: ${JSON.stringify(why)}`)
    this.why = why
  }
}

/**
 * The parts of an export, each made when it is requested.
 * @throws Unfinished
 */
export async function* exportParts(deps: ExportDeps, proof: RunProof): AsyncGenerator<BundlePart> {
  const { store, artifacts, keys, files: ends = false } = deps
  const parts: ListedPart[] = []
  const listed = ({ path, content }: Part): BundlePart => {
    parts.push({ path, bytes: content.length, sha256: sha256(content) })
    return partOf(path, content)
  }
  const ledger = await redactionsAfter(store, proof, null)
  for (const part of await statements(deps, proof, ledger.signers)) yield listed(part)
  const named: Named = { artifacts: new Set(), packs: new Set(), snapshots: [], hidden: null }
  for await (const part of recordFiles(store, proof, named)) yield listed(part)
  /** It may be there, so it must not be listed as missing. */
  const read = (name: string) =>
    artifacts.read(name).catch((cause: unknown) => {
      throw new Unfinished({ type: 'artifact_unreachable', message: messageOf(cause) })
    })
  const { packs, snapshots } = named
  const index = new RedactionIndex(ledger.lines.map(({ redaction }) => redaction))
  const packsOf = (name: string) => index.packsOf(name)
  const objects = await exportedObjects({
    snapshots,
    packs: new Set([...packs].flatMap(packsOf)),
    ends,
    read: async (name) => {
      const found = await read(name)
      return found && buffer(found.stream)
    },
  })
  const isAbout = aboutRun(new Set([...named.artifacts, ...packs]), objects.absent)
  /** A text that was redacted since the export began may be in it. */
  const stopIfRedacted = async (): Promise<void> => {
    const later = await redactionsAfter(store, proof, ledger.last)
    if (!later.lines.some(isAbout)) return
    const message = 'something was redacted from the run while it was exported: export it again'
    throw new Unfinished({ type: 'redacted_meanwhile', message })
  }
  await stopIfRedacted()
  const known = ledger.lines.filter(isAbout)
  if (known.length > 0) {
    const content = Buffer.from(known.map(({ line }) => line).join(''))
    yield listed({ path: REDACTIONS_FILE, content })
  }
  const missing = [...packs].filter((name) => !packsOf(name).some((one) => objects.packs.has(one)))
  for (const name of named.artifacts) {
    const found = await read(name)
    if (found === null) missing.push(name)
    else yield* artifactPart(name, found, parts)
  }
  for await (const part of objects.parts()) yield listed(part)
  // One that is missing, or of which an object is, may have been redacted just now.
  if (missing.length > 0 || snapshots.length > 0) await stopIfRedacted()
  const redacted = new Set(known.map(({ redaction }) => redaction.record.payload.artifact))
  const unsigned = {
    type: 'retrai.export.v2',
    run_id: proof.run_id,
    records: proof.length,
    exported_at: deps.now.toISOString(),
    parts,
    missing_artifacts: missing.filter((name) => !redacted.has(name)),
    ...(snapshots.length > 0 && { files: { first_and_last: ends, withheld: objects.withheld() } }),
    ...(known.length > 0 && (await unsignedRedactions(store, keys))),
  } as const
  yield partOf(MANIFEST, jsonFile(seal<Manifest>(unsigned, keys.signer)))
}

type Part = { readonly path: string; readonly content: Buffer }

/** What an export says beside the records, and how it proves that. @param signers of redactions */
async function statements(
  { store, keys, log = null, stamped = null }: ExportDeps,
  proof: RunProof,
  signers: ReadonlySet<string>,
): Promise<Part[]> {
  const parts = [
    { path: README, content: Buffer.from(readme(proof.run_id)) },
    { path: KEYS, content: jsonFile(await keysFor(store, keys.published, signers)) },
    { path: PROOF, content: jsonFile(proof) },
  ]
  if (log !== null) parts.push({ path: LOG_PROOF, content: jsonFile(log) })
  if (stamped === null) return parts
  return [
    ...parts,
    { path: STAMP.proof, content: jsonFile(stamped.proof) },
    { path: STAMP.token, content: Buffer.from(stamped.stamp.token, 'base64') },
    { path: STAMP.authority, content: Buffer.from(stamped.stamp.chain) },
  ]
}

/**
 * Whether a redaction concerns a run: another run may name the same artifact, or have the same object.
 * @param names of the run's artifacts and packs; gets those that replace one of them
 * @param absent objects that are in no pack of the run
 */
const aboutRun =
  (names: Set<string>, absent: ReadonlySet<string>) =>
  ({ isOwn, redaction }: LedgerLine): boolean => {
    const { artifact, objects = [], replaced_by, absent: isAbsent } = redaction.record.payload
    const isOfOthers = names.has(artifact ?? '') || objects.some((id) => absent.has(id))
    const is = isOwn || (isOfOthers && !isAbsent)
    if (is && replaced_by !== undefined) names.add(replaced_by)
    return is
  }

/** @param parts gets what the part contained: a file that was changed must not stop the export, but be found by a verifier */
async function* artifactPart(
  name: string,
  { bytes, stream }: NonNullable<Awaited<ReturnType<ArtifactSource['read']>>>,
  parts: ListedPart[],
): AsyncGenerator<BundlePart> {
  const path = `${ARTIFACTS}${name}`
  const body = new HashedBody(stream)
  try {
    yield { path, bytes, body }
  } finally {
    // A reader may leave before the end.
    await body.close()
  }
  parts.push({ path, bytes, sha256: body.sha256 })
}

const partOf = (path: string, content: Buffer): BundlePart => {
  return { path, bytes: content.length, body: Readable.from([content]) }
}

const jsonFile = (value: object): Buffer => Buffer.from(`${canonicalText(value)}\n`)

/** A file of records ends with the first page after this many characters. */
const FILE_CHARS = 1024 * 1024

/** What records name. */
type Named = {
  readonly artifacts: Set<string>
  readonly packs: Set<string>
  readonly snapshots: TreeAt[]
  /** The check that the agent did not see. The export holds it once the run has ended. */
  hidden: string | null
}

/**
 * The records in files of about a megabyte, since an archive names the size of a file before its contents.
 * @param named gets what the records name
 */
async function* recordFiles(
  store: StreamReader,
  { run_id, length }: RunProof,
  named: Named,
): AsyncGenerator<Part> {
  let first = 0
  let read = 0
  let text = ''
  for await (const page of streamPages(store, streamOf(run_id), { to: length - 1 })) {
    if (page.isErr()) throw new Unfinished(page.error)
    for (const event of page.value) note(event, named)
    text += page.value.map((event) => `${eventLine(event, 'plain')}\n`).join('')
    read += page.value.length
    if (text.length < FILE_CHARS && read < length) continue
    yield { path: recordsPath(first), content: Buffer.from(text) }
    first = read
    text = ''
  }
  const message = `run ${run_id} ends before record ${read}`
  if (read < length) throw new Unfinished({ type: 'store_failed', message })
}

function note(event: RecordedEvent, named: Named): void {
  if (event.type === 'run_end' && named.hidden !== null) named.artifacts.add(named.hidden)
  const logged = NAMING_KINDS.has(event.type) ? decode(event).unwrapOr(null) : null
  if (logged === null) return
  const { seq, record } = logged
  const { packs, others, hidden } = artifactsOf(record)
  named.hidden ??= hidden
  for (const name of packs) named.packs.add(name)
  for (const name of others) named.artifacts.add(name)
  if (record.kind === 'snapshot') named.snapshots.push({ seq, tree: record.payload.tree })
}

/** A redaction of the run, or of an artifact that any run may name: its line in an export. */
type LedgerLine = {
  readonly isOwn: boolean
  readonly line: string
  readonly redaction: LoggedRedaction
}

/** The redactions after a revision: those that may concern a run, who has signed any of them, and the last one. @throws Unfinished */
async function redactionsAfter(store: StreamReader, { run_id }: RunProof, after: number | null) {
  const lines: LedgerLine[] = []
  const signers = new Set<string>()
  let last = after
  for await (const page of ledgerPages(store, 'redactions', { after })) {
    if (page.isErr()) throw new Unfinished(page.error)
    for (const event of page.value) {
      last = event.revision
      const entry = decodeAs(Redaction, event)
      if (entry.isErr()) continue
      const { record, meta } = entry.value
      const { run_id: runId, artifact } = record.payload
      const isOwn = runId === run_id
      if (meta.seal) signers.add(meta.seal.key)
      if (!isOwn && artifact === undefined) continue
      lines.push({ isOwn, line: `${eventLine(event, 'plain')}\n`, redaction: entry.value })
    }
  }
  return { lines, signers, last }
}

/** The keys of the server, and all others of the log if one of those has signed a redaction. */
async function keysFor(
  store: StreamReader,
  own: PublishedKeys,
  signers: ReadonlySet<string>,
): Promise<PublishedKeys> {
  const isOwn = new Set(own.keys.map(({ fingerprint }) => fingerprint))
  return [...signers].every((key) => isOwn.has(key))
    ? own
    : (await keysInLog(store, own)).unwrapOr(own)
}

/** By a checkpoint that this server has signed: what is in the ledger may be forged. Without one, by the ledger. */
async function unsignedRedactions(store: StreamReader, { published }: Keys) {
  const checkpoint = await newestSigned(store, knownKeys(published))
  const known = checkpoint.unwrapOr(null)?.unsigned_entries?.redactions
  if (known !== undefined) return { unsigned_redactions: known }
  const found = await unsignedLength(store, 'redactions')
  return found.map((unsigned_redactions) => ({ unsigned_redactions })).unwrapOr(undefined)
}

/** Packs parts as a .tar.gz, at constant memory. If a part fails, the stream fails. A reader may leave before the end. */
export function packed(parts: AsyncIterable<BundlePart>, mtime: Date): Readable {
  const archive = createGzip()
  pipeline(tarOf(parts, Math.floor(mtime.getTime() / 1000)), archive, () => {})
  return archive
}
