import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import {
  type ArtifactFolder,
  type ArtifactSource,
  type Artifacts,
  artifactsFrom,
  artifactsIn,
  copyArtifact,
  createArtifacts,
} from '../artifacts/artifacts.ts'
import type { BucketPlace } from '../artifacts/artifacts-in-bucket.ts'
import { artifactsInBucket } from '../artifacts/artifacts-in-bucket.ts'
import { present } from '../domain/present.ts'
import { keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { artifactsInLog, artifactsReadFromLog } from '../log/artifacts-in-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import type { Redactor } from '../redaction/redactor.ts'
import type { EventStore } from '../store/event-store.ts'
import type { ArtifactSettings } from './read-settings.ts'
import type { Settings } from './settings.ts'

type ArtifactPlaces = {
  readonly artifacts: Artifacts
  /** The data folder of this server. */
  readonly local: ArtifactFolder
  /** Where all servers of the log read them; null if there is only this one. */
  readonly shared: Artifacts | null
}

/**
 * Where a server keeps artifacts: by default in the log itself if servers share it, and in the data folder if not. Reads
 * also find what was kept elsewhere before.
 */
export function openArtifacts(
  settings: ArtifactSettings & Pick<Settings, 'RETRAI_DATA_DIR' | 'EVENTSTORE_URL'>,
  store: EventStore,
): Result<ArtifactPlaces, string> {
  const { RETRAI_ARTIFACTS: place, RETRAI_DATA_DIR: dataDir, EVENTSTORE_URL } = settings
  const local = artifactsOfFolder(dataDir)
  const inLog = artifactsInLog(store)
  return namedPlace(settings).map((named): ArtifactPlaces => {
    if (named !== null) {
      return { local, shared: named, artifacts: artifactsIn([named], [local, inLog]) }
    }
    if (place === null || EVENTSTORE_URL !== undefined) {
      return { local, shared: inLog, artifacts: artifactsIn([inLog, local], []) }
    }
    return { local, shared: null, artifacts: artifactsIn([local], [inLog]) }
  })
}

/**
 * Where a program that is not a server finds the artifacts of a log: where the settings say, in the data folder, and in
 * the log itself. The error is a text for people.
 * @param dataDir null for a log that is not in a data folder
 */
export function readableArtifacts(
  settings: ArtifactSettings,
  { dataDir, reader }: { readonly dataDir: string | null; readonly reader: StreamReader },
): Result<ArtifactSource, string> {
  return namedPlace(settings).map((named) =>
    artifactsFrom<ArtifactSource>([
      ...(named === null ? [] : [named]),
      ...(dataDir === null ? [] : [artifactsOfFolder(dataDir)]),
      artifactsReadFromLog(reader),
    ]),
  )
}

export const artifactsOfFolder = (dataDir: string): ArtifactFolder =>
  createArtifacts(join(dataDir, 'artifacts'))

/** The folder or the bucket of RETRAI_ARTIFACTS; null if it names neither. The error is a text for people. */
export function namedPlace(settings: ArtifactSettings): Result<Artifacts | null, string> {
  const { RETRAI_ARTIFACTS: place } = settings
  if (place == null) return ok(null)
  return typeof place === 'string' ? ok(createArtifacts(place)) : openBucket(place, settings)
}

function openBucket(
  place: BucketPlace,
  {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
    AWS_REGION,
  }: ArtifactSettings,
): Result<Artifacts, string> {
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    return err(
      `RETRAI_ARTIFACTS names the bucket ${place.bucket}, so set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that may read and write it.`,
    )
  }
  const region = place.region ?? AWS_REGION ?? DEFAULT_REGION
  const credentials = { accessKeyId, secretAccessKey, ...present({ sessionToken }) }
  return ok(artifactsInBucket({ place, credentials, region }))
}

/** Services other than that of AWS mostly take any region. */
const DEFAULT_REGION = 'us-east-1'

/** Pauses until artifacts are copied again. */
const SHARE_RETRY_MS: PauseBoundsMs = [1_000, 60_000]

/**
 * Copies artifacts that only this server has to where all servers of the log read them, in the background. Earlier
 * versions kept them in the data folder alone.
 */
export function shareArtifacts(
  { local, shared }: Pick<ArtifactPlaces, 'local' | 'shared'>,
  { index }: Pick<Redactor, 'index'>,
  log: Pick<Logger, 'info' | 'warn'>,
): { stop(): Promise<void> } {
  const stop = new AbortController()
  const share = async (): Promise<void> => {
    if (shared === null) return stop.abort()
    let copied = 0
    for await (const sha256 of local.names()) {
      if (stop.signal.aborted) break
      if (index.hasRedactedArtifact(sha256)) continue
      if ((await copyArtifact(sha256, local, shared)) === 'copied') copied += 1
      // It may have been redacted while it was copied.
      if (index.hasRedactedArtifact(sha256)) await shared.remove(sha256)
    }
    if (copied > 0) log.info({ copied }, 'artifacts of this server are shared with other servers')
    stop.abort()
  }
  const onFailure = (err: unknown): void =>
    log.warn({ err }, 'artifacts of this server cannot be shared now, trying again')
  const done = keepRunning(share, { signal: stop.signal, retryMs: SHARE_RETRY_MS, onFailure })
  return {
    stop: () => {
      stop.abort()
      return done
    },
  }
}
