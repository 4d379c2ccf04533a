import { OWN_STREAM_PREFIX } from '../domain/records.ts'

const ARTIFACT_STREAM_PREFIX = `${OWN_STREAM_PREFIX}artifact-`

/** The stream that holds the artifact of this SHA-256. */
export const artifactStream = (sha256: string): string => `${ARTIFACT_STREAM_PREFIX}${sha256}`

/** The SHA-256 of the artifact that a stream holds; null for other streams. */
export const artifactOfStream = (stream: string): string | null =>
  stream.startsWith(ARTIFACT_STREAM_PREFIX) ? stream.slice(ARTIFACT_STREAM_PREFIX.length) : null
