import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { err, type Result } from 'neverthrow'
import { ledgerOf } from '../audit/ledgers.ts'
import type { LiveReport } from '../audit/verify/live-report.ts'
import { verifyStore } from '../audit/verify/verify-store.ts'
import type { Demands } from '../audit/verify/witness-check.ts'
import { CHECKPOINT_STREAM } from '../checkpoints/checkpoint-stream.ts'
import { readKeptCheckpoints } from '../checkpoints/kept-checkpoints.ts'
import { readPublishedKeys } from '../checkpoints/keyring.ts'
import { knownKeys } from '../checkpoints/public-keys.ts'
import { COSIGNATURE_STREAM } from '../checkpoints/witness/cosignatures.ts'
import { LOG_ID_STREAM, SERVERS_STREAM } from '../log/log-identity.ts'
import { artifactOfStream, RUN_STREAM_PREFIX, runIdOf } from '../log/run-log.ts'
import type { LogPages } from '../log/stream-pages.ts'
import { readProjected } from '../projections/read-projected.ts'
import { retentionIndexOf } from '../retention/ledger.ts'
import { foreignParts, openReadableLog } from '../store/embedded/existing-log.ts'
import { readableArtifacts } from './open-artifacts.ts'
import type { ArtifactSettings } from './read-settings.ts'

type Options = Demands & {
  readonly dataDir: string
  readonly artifacts: ArtifactSettings
  /** Gives the pages of the log, for example more slowly. */
  readonly paced?: (pages: LogPages) => LogPages
}

/** Verifies all runs and ledgers of a data folder, which a server may be using. Changes nothing in it. */
export async function verifyFolder({
  dataDir,
  artifacts,
  paced = (pages) => pages,
  ...demands
}: Options): Promise<Result<LiveReport, string>> {
  const own = await readPublishedKeys(join(dataDir, 'keys'))
  if (own.isErr()) return err(own.error.message)
  const keys = new Map([...knownKeys(own.value), ...(demands.anchors?.keys ?? [])])
  // Read before the log, so that the log has everything in them.
  const projected = readProjected(join(dataDir, 'read-model.sqlite'))
  if (projected.isErr()) return err(projected.error)
  const beside = await readKeptCheckpoints(dataDir)
  const file = join(dataDir, 'log.sqlite')
  const log = await openReadableLog(file)
  if (log.isErr()) return err(log.error.message)
  try {
    const reader = log.value
    const retention = await retentionIndexOf(reader)
    if (retention.isErr()) return err(retention.error.message)
    const removed = (stream: string) => retention.value.removalIn(stream)?.length ?? 0
    const foreign = foreignParts(file, isOwnStream, removed)
    if (foreign.isErr()) return err(foreign.error.message)
    const source = readableArtifacts(artifacts, { dataDir, reader })
    if (source.isErr()) return err(source.error)
    const files = {
      projected: projected.value,
      beside,
      foreign: foreign.value,
      artifacts: source.value,
    }
    const store = { reader, pages: () => paced(reader.pages()), keys, ...files }
    const verified = await verifyStore(store, demands)
    const unverified = await unverifiedIn(dataDir)
    return verified.map((report) => ({ ...report, unverified }))
  } finally {
    await log.value.close()
  }
}

/** The files of a data folder about which a report says something. Nothing signs the others. */
const VERIFIED =
  /^(?:log\.sqlite.*|read-model\..*|keys|artifacts|(?:last|lost)-checkpoint.*\.json)$/

async function unverifiedIn(dataDir: string): Promise<readonly string[]> {
  const names = (await readdir(dataDir)).filter((name) => !VERIFIED.test(name))
  return [...names.toSorted(), 'the dates in keys/keyring.json']
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const SHA256 = /^[0-9a-f]{64}$/
const OTHERS = new Set<string>([
  LOG_ID_STREAM,
  SERVERS_STREAM,
  CHECKPOINT_STREAM,
  COSIGNATURE_STREAM,
])

/** Whether a server makes a stream with this name. */
function isOwnStream(stream: string): boolean {
  if (stream.startsWith(RUN_STREAM_PREFIX)) return UUID.test(runIdOf(stream))
  const artifact = artifactOfStream(stream)
  if (artifact !== null) return SHA256.test(artifact)
  return OTHERS.has(stream) || ledgerOf(stream) !== null
}
