import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { sha256 } from '../../lib/sha256.ts'
import { type CopyError, copyLog } from '../../log/copy-log.ts'
import { streamOf } from '../../log/run-log.ts'
import type { LoggedRedaction } from '../../redaction/redaction-ledger.ts'
import type { EventStore, RecordedEvent } from '../../store/event-store.ts'
import type { TrustAnchors } from '../proofs/trust-anchors.ts'
import type { BundleReport } from '../verify/report.ts'
import { verifyBundle } from '../verify/verify-bundle.ts'
import { ARTIFACTS, type BundlePart } from './bundle-format.ts'
import { beginImport, endImport } from './pending-imports.ts'
import type { RecordLine } from './record-line.ts'
import { takeRedactions } from './take-redactions.ts'

export type ImportDeps = {
  readonly store: EventStore
  /** Keeps content by its SHA-256; it is on the disk when this resolves. */
  readonly putArtifact: (content: Buffer) => Promise<unknown>
  /** Folder of the markers of imports that are under way. */
  readonly markers: string
  /** Seconds since the epoch. */
  readonly now: () => number
}

export type ImportError =
  /** The export does not hold, or not by a key that is trusted; nothing was imported. */
  | { readonly type: 'refused'; readonly report: BundleReport }
  /** The run had not ended when it was exported; nothing was imported. */
  | { readonly type: 'not_complete'; readonly report: BundleReport }
  | CopyError
  | { readonly type: 'artifact_failed'; readonly message: string }

export type Imported = {
  readonly runId: string
  readonly records: number
  /** The target had these records already. */
  readonly present: number
  readonly artifacts: number
}

/** How many records are appended at once, at most. */
const BATCH = 100

/**
 * Takes the run of an export into a store, as it is: the same ids, data, metadata and hashes, and what is
 * recorded of redactions. Verifies
 * the whole of it first, and again while it is taken over. Made again it changes nothing; interrupted,
 * it goes on. No server may work on the store meanwhile.
 * @param open reads the archive from its beginning; it is read several times
 */
export function importRun(
  deps: ImportDeps,
  open: () => AsyncIterable<BundlePart>,
  anchors: TrustAnchors,
): ResultAsync<Imported, ImportError> {
  const take = async (): Promise<Result<Imported, ImportError>> => {
    const redactions: LoggedRedaction[] = []
    const onRedaction = (redaction: LoggedRedaction) => redactions.push(redaction)
    const report = await verifyBundle(open(), { anchors, onRedaction })
    const { run_id: runId } = report
    if (!report.holds || report.trust === 'not_trusted' || runId === null) {
      return err({ type: 'refused', report })
    }
    if (!report.complete) return err({ type: 'not_complete', report })
    const artifacts = await takeArtifacts(deps, open())
    if (artifacts.isErr()) return err(artifacts.error)
    await beginImport(deps.markers, runId)
    const records = await takeRecords(deps.store, runId, open, anchors)
    const recorded = records.isOk() ? await takeRedactions(deps, redactions) : ok()
    if (recorded.isErr()) {
      const message = `the redactions cannot be recorded (${recorded.error.type})`
      return err({ type: 'store_failed', message })
    }
    // A run of the target's own under this id stays what it is, so the server may go on with it.
    if (records.isOk() || records.error.type === 'other_content') {
      await endImport(deps.markers, runId)
    }
    if (records.isErr()) return err(records.error)
    return ok({ runId, artifacts: artifacts.value, ...records.value })
  }
  return new ResultAsync(take())
}

async function takeArtifacts(
  { putArtifact }: ImportDeps,
  parts: AsyncIterable<BundlePart>,
): Promise<Result<number, ImportError>> {
  let taken = 0
  try {
    for await (const { path, body } of parts) {
      const chunks: Uint8Array[] = []
      for await (const chunk of body) if (path.startsWith(ARTIFACTS)) chunks.push(chunk)
      if (!path.startsWith(ARTIFACTS)) continue
      const content = Buffer.concat(chunks)
      if (sha256(content) !== path.slice(ARTIFACTS.length)) throw new Error(`${path} has changed`)
      await putArtifact(content)
      taken += 1
    }
    return ok(taken)
  } catch (cause) {
    return err({ type: 'artifact_failed', message: String(cause) })
  }
}

async function takeRecords(
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
    onRecord: async (line) => {
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

/** The position is the target's to give. */
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
