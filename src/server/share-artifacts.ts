import { copyArtifacts } from '../artifacts/artifact-places.ts'
import { keepRunning, type PauseBoundsMs } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import type { Redactor } from '../redaction/redactor.ts'
import type { ArtifactPlaces } from './open-artifacts.ts'

const RETRY_MS: PauseBoundsMs = [1_000, 60_000]

/**
 * Copies artifacts that only this server has to where all servers of the log read them, in the background. Earlier
 * versions kept them in the data folder alone.
 */
export function shareArtifacts(
  { local, shared }: Pick<ArtifactPlaces, 'local' | 'shared'>,
  redactor: Pick<Redactor, 'hasRedactedArtifact'>,
  log: Pick<Logger, 'info' | 'warn'>,
): { stop(): Promise<void> } {
  const stop = new AbortController()
  const isRedacted = (sha256: string): boolean => redactor.hasRedactedArtifact(sha256)
  const share = async (): Promise<void> => {
    if (shared === null) return stop.abort()
    const copied = await copyArtifacts(local, shared, { isRedacted, signal: stop.signal })
    if (copied > 0) log.info({ copied }, 'artifacts of this server are shared with other servers')
    stop.abort()
  }
  const onFailure = (err: unknown): void =>
    log.warn({ err }, 'artifacts of this server cannot be shared now, trying again')
  const done = keepRunning(share, { signal: stop.signal, retryMs: RETRY_MS, onFailure })
  return {
    stop: () => {
      stop.abort()
      return done
    },
  }
}
