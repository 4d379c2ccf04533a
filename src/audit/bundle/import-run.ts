import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { present } from '../../domain/present.ts'
import { sha256 } from '../../lib/sha256.ts'
import { type CopyError, copyLog } from '../../log/copy-log.ts'
import { decideAndAppend } from '../../log/decider.ts'
import type { Signing } from '../../log/entry-seal.ts'
import { type LoadError, streamOf } from '../../log/run-log.ts'
import {
  type LoggedRedaction,
  REDACTIONS,
  type Redaction,
  type RedactionChain,
  redactionsOf,
} from '../../redaction/redaction-ledger.ts'
import type { AppendError, EventStore, RecordedEvent } from '../../store/event-store.ts'
import type { TrustAnchors } from '../proofs/public-keys.ts'
import type { BundleReport } from '../verify/report.ts'
import { verifyBundle } from '../verify/verify-bundle.ts'
import { ARTIFACTS, type BundlePart } from './bundle-format.ts'
import type { RecordLine } from './record-lines.ts'

export type ImportDeps = {
  readonly store: EventStore
  readonly sign: Signing
  /** Keeps content by its SHA-256; it is on the disk when this resolves. */
  readonly putArtifact: (content: Buffer) => Promise<unknown>
  /** Folder of the markers of imports that are under way. */
  readonly markers: string
  /** Seconds since the epoch. */
  readonly now: () => number
}

export type ImportError =
  /** The export does not hold, or is not signed by a trusted key; nothing was imported. */
  | { readonly type: 'refused'; readonly report: BundleReport }
  /** The run had not ended when it was exported; nothing was imported. */
  | { readonly type: 'not_complete'; readonly report: BundleReport }
  | CopyError
  | { readonly type: 'artifact_failed'; readonly message: string }

export type Imported = {
  readonly runId: string
  readonly records: number
  /** How many of the records the target had already. */
  readonly present: number
  readonly artifacts: number
}

/** How many records are appended at once, at most. */
const BATCH = 100

/**
 * Copies the run of an export into a store: the same ids, data, metadata and hashes, and the recorded redactions.
 * Verifies the whole export first, and again while it copies. A repeated import changes nothing; one that was
 * interrupted continues. Until it ends, no server may work on the store.
 * @param open reads the archive from its beginning; it is read several times
 */
export function importRun(
  deps: ImportDeps,
  open: () => AsyncIterable<BundlePart>,
  anchors: TrustAnchors,
): ResultAsync<Imported, ImportError> {
  const importAll = async (): Promise<Result<Imported, ImportError>> => {
    const redactions: LoggedRedaction[] = []
    const onRedaction = (redaction: LoggedRedaction) => redactions.push(redaction)
    const report = await verifyBundle(open(), { anchors, onRedaction })
    const { run_id: runId } = report
    if (!report.holds || report.trust === 'not_trusted' || runId === null) {
      return err({ type: 'refused', report })
    }
    if (!report.complete) return err({ type: 'not_complete', report })
    const artifacts = await importArtifacts(deps, open())
    if (artifacts.isErr()) return err(artifacts.error)
    await beginImport(deps.markers, runId)
    const records = await importRecords(deps.store, runId, open, anchors)
    const recorded = records.isOk() ? await importRedactions(deps, redactions) : ok()
    if (recorded.isErr()) {
      const message = `the redactions cannot be recorded (${recorded.error.type})`
      return err({ type: 'store_failed', message })
    }
    // The target's own run under this id stays as it is, so the server may continue it.
    if (records.isOk() || records.error.type === 'other_content') {
      await endImport(deps.markers, runId)
    }
    if (records.isErr()) return err(records.error)
    return ok({ runId, artifacts: artifacts.value, ...records.value })
  }
  return new ResultAsync(importAll())
}

async function importArtifacts(
  { putArtifact }: ImportDeps,
  parts: AsyncIterable<BundlePart>,
): Promise<Result<number, ImportError>> {
  let imported = 0
  try {
    for await (const { path, body } of parts) {
      const chunks: Uint8Array[] = []
      for await (const chunk of body) if (path.startsWith(ARTIFACTS)) chunks.push(chunk)
      if (!path.startsWith(ARTIFACTS)) continue
      const content = Buffer.concat(chunks)
      if (sha256(content) !== path.slice(ARTIFACTS.length)) throw new Error(`${path} has changed`)
      await putArtifact(content)
      imported += 1
    }
    return ok(imported)
  } catch (cause) {
    return err({ type: 'artifact_failed', message: String(cause) })
  }
}

async function importRecords(
  store: EventStore,
  runId: string,
  open: () => AsyncIterable<BundlePart>,
  anchors: TrustAnchors,
): Promise<Result<Pick<Imported, 'records' | 'present'>, ImportError>> {
  let batch: RecordedEvent[] = []
  let failure: CopyError | null = null
  let present = 0
  const flush = async (): Promise<void> => {
    if (failure !== null || batch.length === 0) return
    const copied = await copyLog(once(ok(batch)), store)
    if (copied.isErr()) failure = copied.error
    else present += copied.value.present
    batch = []
  }
  const report = await verifyBundle(open(), {
    anchors,
    onLine: async (line) => {
      batch.push(eventOf(runId, line))
      if (batch.length === BATCH) await flush()
    },
  })
  if (!report.holds) return err({ type: 'refused', report })
  await flush()
  return failure === null ? ok({ records: report.verified, present }) : err(failure)
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value
}

/** The event of a record. The target's store gives it a position. */
function eventOf(runId: string, line: RecordLine): RecordedEvent {
  return {
    stream: streamOf(runId),
    revision: line.seq,
    id: line.id,
    type: line.type,
    data: JSON.stringify(line.data),
    metadata: JSON.stringify(line.metadata),
    created: line.created,
    position: '',
  }
}

/** Records the redactions of an export, each once; each names its entry in the other log. */
function importRedactions(
  { store, sign, now }: ImportDeps,
  redactions: readonly LoggedRedaction[],
): ResultAsync<void, AppendError | LoadError> {
  const missing = (chain: RedactionChain) => {
    const known = new Set(redactionsOf(chain).flatMap(hashesOf))
    const fresh = redactions.filter(
      (redaction) => !hashesOf(redaction).some((hash) => known.has(hash)),
    )
    return ok(fresh.map((redaction) => imported(redaction, now())))
  }
  const author = { commandId: randomUUID() }
  return decideAndAppend(store, REDACTIONS, missing, author, { sign }).map(() => undefined)
}

/** The hashes of the entry itself, and of the entry that first redacted the strings. */
const hashesOf = ({ record, meta }: LoggedRedaction): string[] => [
  meta.hash,
  ...(record.payload.origin === undefined ? [] : [record.payload.origin.hash]),
]

function imported({ record, meta }: LoggedRedaction, ts: number): Redaction {
  const { hash, principal } = meta
  const { origin = { hash, ts: record.ts, ...present({ principal }) } } = record.payload
  return { ...record, ts, payload: { ...record.payload, origin } }
}

/**
 * Runs whose import has begun and not ended, as empty files named by their ids. A run that is imported in part looks like
 * one that an agent must continue; the file keeps a server from continuing it.
 */
export const IMPORTS_FOLDER = 'imports'

/** @param dir the folder of the markers */
export async function beginImport(dir: string, runId: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const marker = await open(join(dir, runId), 'w', 0o600)
  await marker.sync()
  await marker.close()
  const folder = await open(dir, 'r')
  await folder.sync()
  await folder.close()
}

async function endImport(dir: string, runId: string): Promise<void> {
  await rm(join(dir, runId), { force: true })
}

/** Ids of runs whose import was interrupted. */
export async function pendingImports(dir: string): Promise<ReadonlySet<string>> {
  return new Set(await readdir(dir).catch(() => []))
}
