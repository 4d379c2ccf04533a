import { randomUUID } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { RunRemoval } from '../../api/retention.ts'
import type { ArtifactSource, Artifacts } from '../../artifacts/artifacts.ts'
import type { TrustAnchors } from '../../checkpoints/public-keys.ts'
import { artifactsOf } from '../../domain/named-artifacts.ts'
import { present } from '../../domain/present.ts'
import { sha256 } from '../../lib/sha256.ts'
import { writeDurably } from '../../lib/write-durably.ts'
import type { Signing } from '../../log/chain.ts'
import { canonicalText } from '../../log/commitment.ts'
import { type CopyError, copyLog } from '../../log/copy-log.ts'
import { decideAndAppend } from '../../log/decider.ts'
import { type LoadedRun, streamOf } from '../../log/run-log.ts'
import { eventAt } from '../../log/stream-pages.ts'
import { withoutObjects } from '../../redaction/objects.ts'
import type { Redaction } from '../../redaction/redaction.ts'
import {
  type LoggedRedaction,
  REDACTIONS,
  redactionIndexOf,
  removedBy,
} from '../../redaction/redaction-index.ts'
import { retentionIndexOf } from '../../retention/ledger.ts'
import type { EventStore, RecordedEvent } from '../../store/event-store.ts'
import { foldStored } from '../stored-events.ts'
import type { BundleReport } from '../verify/report.ts'
import { verifyBundle } from '../verify/verify-bundle.ts'
import type { BadRecord } from '../verify/verify-run.ts'
import { ARTIFACTS, type BundlePart, packOf } from './bundle-format.ts'
import type { RecordLine } from './record-lines.ts'

export type ImportDeps = {
  readonly store: EventStore
  readonly sign: Signing
  /** Content is on the disk when `put` resolves. */
  readonly artifacts: ArtifactSource & Pick<Artifacts, 'put'>
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
  /** The log has a run of this id; nothing was imported. */
  | { readonly type: 'is_here'; readonly runId: string }
  /** This log has removed the run, and its id is used only once; nothing was imported. */
  | { readonly type: 'was_removed'; readonly removal: RunRemoval }
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
 * Verifies the whole export first, and again while it copies. One that was interrupted continues. Until it ends, no server
 * may work on the store.
 * @param open reads the archive from its beginning; it is read several times
 */
export async function importRun(
  deps: ImportDeps,
  open: () => AsyncIterable<BundlePart>,
  anchors: TrustAnchors,
): Promise<Result<Imported, ImportError>> {
  const redactions: LoggedRedaction[] = []
  const packs: NamedPacks = new Map()
  let folded: Result<LoadedRun | null, BadRecord> = ok(null)
  const verified = await verifyBundle(open(), {
    anchors,
    onRedaction: (redaction) => redactions.push(redaction),
    onRecord: ({ seq, record }, line) => {
      for (const name of artifactsOf(record).packs) packs.set(name, packs.get(name) ?? seq)
      folded = folded.andThen((run) => foldStored(record.run_id, run, line))
    },
  })
  const report = readable(verified, folded)
  const { run_id: runId } = report
  if (!report.holds || report.trust === 'not_trusted' || runId === null) {
    return err({ type: 'refused', report })
  }
  if (!report.complete) return err({ type: 'not_complete', report })
  const retention = await retentionIndexOf(deps.store)
  if (retention.isErr()) return err(retention.error)
  const removal = retention.value.removals.get(runId)
  if (removal !== undefined) return err({ type: 'was_removed', removal })
  const end = await eventAt(deps.store, streamOf(runId), 'end')
  if (end.isErr()) return err(end.error)
  const isPending = (await pendingImports(deps.markers)).has(runId)
  if (end.value !== null && !isPending) return err({ type: 'is_here', runId })
  const artifacts = await importArtifacts(deps, open())
  if (artifacts.isErr()) return err(artifacts.error)
  await beginImport(deps.markers, runId)
  const records = await importRecords(deps.store, runId, open, anchors)
  const { kept } = artifacts.value
  const recorded = await records.asyncAndThen(() => {
    const now = deps.now()
    const made = redactions.map((redaction) => imported(redaction, now))
    return record(deps, [...made, ...absent(runId, { packs, redactions, kept }, now)])
  })
  if (recorded.isOk()) await rm(join(deps.markers, runId), { force: true })
  return recorded
    .andThen(() => records)
    .map((counts) => ({ runId, artifacts: artifacts.value.imported, ...counts }))
}

/** A run that no server can fold does not hold here. */
function readable(report: BundleReport, folded: Result<LoadedRun | null, BadRecord>): BundleReport {
  if (folded.isOk()) return report
  const findings = [...report.findings, { ...folded.error, where: 'records' }]
  return { ...report, holds: false, findings }
}

/** @returns how many artifacts there are, and for each pack of which objects are imported, the name of a pack of these */
async function importArtifacts(
  { store, artifacts }: ImportDeps,
  parts: AsyncIterable<BundlePart>,
): Promise<Result<{ readonly imported: number; readonly kept: Kept }, ImportError>> {
  let imported = 0
  const kept = new Map<string, string>()
  const index = await redactionIndexOf(store)
  if (index.isErr()) return err(index.error)
  const { removedObjects } = index.value
  try {
    for await (const { path, body } of parts) {
      const pack = packOf(path)
      if (pack === null && !path.startsWith(ARTIFACTS)) continue
      const whole = await buffer(body)
      // What was redacted here is not kept again.
      const content = pack === null ? whole : withoutObjects(whole, removedObjects)
      if (content === null) continue
      const name = sha256(content)
      if (pack !== null) kept.set(pack, name)
      else if (name !== path.slice(ARTIFACTS.length)) throw new Error(`${path} has changed`)
      if (index.value.hasRedactedArtifact(name)) continue
      await artifacts.put(content)
      imported += 1
    }
    return ok({ imported, kept })
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
    const copied = await copyLog([ok(batch)], store)
    if (copied.isErr()) failure = copied.error
    else present += copied.value.present
    batch = []
  }
  const report = await verifyBundle(open(), {
    anchors,
    onRecord: (_record, line) => {
      batch.push(eventOf(runId, line))
      return batch.length === BATCH ? flush() : undefined
    },
  })
  if (!report.holds) return err({ type: 'refused', report })
  await flush()
  return failure === null ? ok({ records: report.verified, present }) : err(failure)
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

/** Records redactions, each once: an import that was interrupted may have recorded them. */
function record(
  { store, sign }: ImportDeps,
  redactions: readonly Redaction[],
): ResultAsync<void, ImportError> {
  const missing = (there: readonly LoggedRedaction[]) => {
    const known = new Set(there.map(({ record }) => canonicalText(record.payload)))
    return ok(redactions.filter(({ payload }) => !known.has(canonicalText(payload))))
  }
  return decideAndAppend(store, REDACTIONS, missing, { commandId: randomUUID() }, { sign })
    .map(() => undefined)
    .mapErr(({ type }) => {
      return { type: 'store_failed', message: `the redactions cannot be recorded (${type})` }
    })
}

/** Packs, each with the seq of a record that it belongs to. */
type NamedPacks = Map<string, number>
type Kept = ReadonlyMap<string, string>

/** Entries for the packs that the export did not hold as they were: they name what it held of them. */
function absent(
  run_id: string,
  from: { packs: NamedPacks; redactions: readonly LoggedRedaction[]; kept: Kept },
  ts: number,
): Redaction[] {
  const payloads = from.redactions.map(({ record }) => record.payload)
  const rests = payloads.flatMap(({ replaced_by, seq }): [string, number][] =>
    replaced_by === undefined ? [] : [[replaced_by, seq]],
  )
  const gone = new Set(from.redactions.flatMap((redaction) => removedBy(redaction) ?? []))
  const noted = new Set(payloads.flatMap(({ artifact }) => artifact ?? []))
  const reason = 'The run was imported from an export without all objects of this pack.'
  return [...new Map([...rests, ...from.packs])].flatMap(([artifact, seq]): Redaction[] => {
    const replaced_by = from.kept.get(artifact)
    if (gone.has(artifact) || artifact === replaced_by) return []
    if (replaced_by === undefined && noted.has(artifact)) return []
    const rest = present({ replaced_by })
    const payload = { run_id, seq, redacted: {}, artifact, ...rest, absent: true, reason } as const
    return [{ kind: 'redacted', ts, payload }]
  })
}

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
export const beginImport = (dir: string, runId: string): Promise<void> =>
  writeDurably(join(dir, runId), '')

/** Ids of runs whose import was interrupted. */
export async function pendingImports(dir: string): Promise<ReadonlySet<string>> {
  const names = await readdir(dir).catch(() => [])
  return new Set(names.filter((name) => !name.startsWith('.')))
}
