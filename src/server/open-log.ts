import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { Logger } from 'pino'
import { artifactsIn } from '../artifacts/artifact-places.ts'
import { type ArtifactFolder, type Artifacts, createArtifacts } from '../artifacts/artifacts.ts'
import { artifactsInBucket } from '../artifacts/artifacts-in-bucket.ts'
import { artifactsInLog } from '../artifacts/artifacts-in-log.ts'
import type { BucketPlace } from '../artifacts/bucket-place.ts'
import { Auth } from '../auth/auth.ts'
import { LedgerHeads } from '../log/ledger-heads.ts'
import { Redactor } from '../redaction/redactor.ts'
import { withRedactions } from '../redaction/with-redactions.ts'
import { openEmbeddedStore } from '../store/embedded/embedded-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { withCrashingAppends } from './crash-points.ts'
import { now } from './parts.ts'
import { missingRight } from './probe-rights.ts'
import { isLoopback, type Settings } from './settings.ts'

/** The log as it is stored, the same without redacted text, and the redactor. */
type OpenLog = {
  readonly ledger: EventStore
  readonly store: EventStore
  readonly redactor: Redactor
  readonly ledgers: LedgerHeads
}

/** Opens the store that is configured. The error is a text for people. */
export async function openLog(settings: Settings, log: Logger): Promise<Result<OpenLog, string>> {
  const opened = await openStore(settings, log)
  return opened.map((whole) => {
    const ledgers = new LedgerHeads()
    const ledger = withCrashingAppends(ledgers.noting(whole), settings.RETRAI_CRASH_AT)
    const redactor = new Redactor({ store: ledger, log })
    return { ledger, store: withRedactions(ledger, redactor), redactor, ledgers }
  })
}

async function openStore(settings: Settings, log: Logger): Promise<Result<EventStore, string>> {
  const { EVENTSTORE_URL: connectionString, RETRAI_DATA_DIR: dataDir } = settings
  if (connectionString === undefined) {
    const opened = await openEmbeddedStore({ file: join(dataDir, 'log.sqlite') })
    return opened.mapErr(({ message }) => message)
  }
  // Loaded only here, so that a server without EventStoreDB does not wait for its client.
  const { openEventStoreDb } = await import('../store/eventstoredb/eventstoredb-store.ts')
  const opened = await openEventStoreDb({
    connectionString,
    log: (message) => log.warn(message),
    onAnswer: (node) => log.info(node, 'the event store answers'),
  })
  if (opened.isErr()) return err(opened.error.message)
  const missing = await missingRight(opened.value)
  if (missing === null) return ok(opened.value)
  await opened.value.close()
  return err(missing)
}

export type ArtifactPlaces = {
  readonly artifacts: Artifacts
  /** The data folder of this server. */
  readonly local: ArtifactFolder
  /** Where all servers of the log read them; null if there is only this one. */
  readonly shared: Artifacts | null
}

/**
 * Where artifacts are kept: by default in the log itself if servers share it, and in the data folder if not. Reads
 * also find what was kept elsewhere before.
 */
export function openArtifacts(
  settings: Settings,
  store: EventStore,
): Result<ArtifactPlaces, string> {
  const { RETRAI_ARTIFACTS: place, RETRAI_DATA_DIR: dataDir, EVENTSTORE_URL } = settings
  const local = createArtifacts(join(dataDir, 'artifacts'))
  const inLog = artifactsInLog(store)
  if (place === null || (place === undefined && EVENTSTORE_URL !== undefined)) {
    return ok({ local, shared: inLog, artifacts: artifactsIn([inLog, local], []) })
  }
  if (place === undefined) {
    return ok({ local, shared: null, artifacts: artifactsIn([local], [inLog]) })
  }
  const opened =
    typeof place === 'string' ? ok(createArtifacts(place)) : openBucket(place, settings)
  return opened.map((shared) => {
    return { local, shared, artifacts: artifactsIn([shared], [local, inLog]) }
  })
}

function openBucket(
  place: BucketPlace,
  {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
    AWS_REGION,
  }: Settings,
): Result<Artifacts, string> {
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    return err(
      `RETRAI_ARTIFACTS names the bucket ${place.bucket}, so set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that may read and write it.`,
    )
  }
  const region = place.region ?? AWS_REGION ?? DEFAULT_REGION
  const credentials = { accessKeyId, secretAccessKey, sessionToken }
  return ok(artifactsInBucket({ place, credentials, region }))
}

/** Services other than that of AWS mostly take any region. */
const DEFAULT_REGION = 'us-east-1'

/** How long the server waits to learn whether there are tokens, if it may not listen without any. */
const TOKENS_WITHIN_MS = 10_000

/** Opens the tokens. A server that listens beyond loopback needs one; the error is a text for people. */
export async function openAuth(
  settings: Settings,
  log: Logger,
  store: EventStore,
): Promise<Result<Auth, string>> {
  const { RETRAI_HOST: host, RETRAI_TOKEN: configured = null, EVENTSTORE_URL } = settings
  const isLocal = isLoopback(host) || settings.RETRAI_LISTEN !== undefined
  // An embedded log can always be read, so its tokens need no copy.
  const kept =
    EVENTSTORE_URL === undefined ? undefined : join(settings.RETRAI_DATA_DIR, 'tokens.json')
  const auth = await Auth.open({ store, configured, clock: now, log, keptIn: kept })
  if (isLocal || configured !== null) return ok(auth)
  const read = await auth.read(TOKENS_WITHIN_MS)
  if (read && auth.guarded) return ok(auth)
  await auth.close()
  const why = read ? 'there is none' : 'the log cannot be read to see whether there is one'
  return err(
    `This server runs shell commands, so it listens on ${host} only if it has a token, and ${why}. Make one with "retrai token create NAME --role admin" and the same --data-dir or --store, or set RETRAI_TOKEN, or keep --host 127.0.0.1.`,
  )
}
