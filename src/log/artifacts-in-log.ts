import { Readable } from 'node:stream'
import type { Result } from 'neverthrow'
import * as z from 'zod'
import {
  type ArtifactSource,
  type Artifacts,
  ArtifactsUnreachable,
} from '../artifacts/artifacts.ts'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import { sha256 as sha256Of } from '../lib/sha256.ts'
import type { EventStore, NewEvent } from '../store/event-store.ts'
import { uuidOfHash } from './chain.ts'
import { patientStore, type StreamStore } from './patience.ts'
import { artifactStream } from './run-log.ts'
import { eventAt, type StreamReader, streamPages } from './stream-pages.ts'

const KIND = 'artifact_chunk'
/** In Base64 they are 800 kB, which fits into one append. */
const CHUNK_BYTES = 600_000
/** How long the server tries to keep an artifact without the store, in ms: longer than the election of a leader. */
const PATIENCE_MS = 60_000
const RETRY_MS: PauseBoundsMs = [100, 5_000]

const Chunk = z.strictObject({
  /** Place of the chunk: 0 … count − 1. */
  index: z.int().nonnegative(),
  count: z.int().positive(),
  /** Bytes of the whole artifact. */
  total: z.int().nonnegative(),
  base64: z.base64(),
})
type Chunk = z.infer<typeof Chunk>

/**
 * Artifacts in the log itself, where every server that shares the log reads them, and `retrai copy` and backups of
 * the store take them. Each is a stream of chunks, named by its hash. A stream is complete once it has its last chunk.
 */
export function artifactsInLog(store: EventStore): Artifacts {
  return {
    async put(content) {
      const sha256 = sha256Of(content)
      const patient = patientFor(store)
      const stream = artifactStream(sha256)
      if ((await lastChunk(patient, stream))?.isLast !== true) {
        await appendChunks(patient, stream, chunksOf(Buffer.from(content)))
      }
      return sha256
    },

    read: (sha256) => readFromLog(store, sha256),

    async remove(sha256) {
      const stream = artifactStream(sha256)
      if (store.deleteStream !== undefined) unwrap(await store.deleteStream(stream))
      else await overwriteChunks(store, stream)
    },
  }
}

/** Artifacts in a log that is open for reading only. */
export const artifactsReadFromLog = (reader: StreamReader): ArtifactSource => ({
  read: (sha256) => readFromLog(reader, sha256),
})

async function readFromLog(
  reader: StreamReader,
  sha256: string,
): Promise<{ readonly bytes: number; readonly stream: Readable } | null> {
  const stream = artifactStream(sha256)
  const last = await lastChunk(reader, stream)
  if (!last?.isLast) return null
  return { bytes: last.total, stream: Readable.from(bytesOf(reader, stream)) }
}

function chunksOf(content: Buffer): readonly Chunk[] {
  const total = content.length
  const count = Math.max(1, Math.ceil(total / CHUNK_BYTES))
  return Array.from({ length: count }, (_, index) => {
    const bytes = content.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)
    return { index, count, total, base64: bytes.toString('base64') }
  })
}

/** Two servers that keep the same output append the same events, so both succeed. */
async function appendChunks(
  store: StreamStore,
  stream: string,
  chunks: readonly Chunk[],
): Promise<void> {
  let expectedRevision: number | 'no_stream' = 'no_stream'
  for (const chunk of chunks) {
    const appended = await store.append(stream, [eventOf(stream, chunk)], { expectedRevision })
    expectedRevision = unwrap(appended, (type) => `${type} at chunk ${chunk.index}`).revision
  }
}

function eventOf(stream: string, chunk: Chunk): NewEvent {
  return {
    // The name of the stream names the content, so the same chunk is always the same event.
    id: uuidOfHash(sha256Of(`${stream}/${chunk.index}`)),
    type: KIND,
    data: JSON.stringify(chunk),
    metadata: '{}',
  }
}

/** The last chunk that is stored; null if the stream does not exist. */
async function lastChunk(store: StreamReader, stream: string) {
  const event = unwrap(await eventAt(store, stream, 'end'))
  if (event === null) return null
  const { index, count, total } = parsedChunk(event.data)
  return { total, isLast: index === count - 1 }
}

async function* bytesOf(store: StreamReader, stream: string): AsyncGenerator<Buffer, void, void> {
  for await (const page of streamPages(store, stream, { limit: 4 })) {
    const events = unwrap(page, () => `there is no ${stream}`)
    for (const { data } of events) yield Buffer.from(parsedChunk(data).base64, 'base64')
  }
}

/** Leaves the events of a stream in a store that cannot delete streams, without their bytes. */
async function overwriteChunks(store: EventStore, stream: string): Promise<void> {
  for await (const page of streamPages(store, stream, { limit: 4 })) {
    if (page.isErr() && page.error.type === 'stream_not_found') return
    const emptied = unwrap(page).map(({ id, revision, data, metadata }) => {
      const chunk: Chunk = { ...parsedChunk(data), index: 0, count: 2, base64: '' }
      return { stream, revision, id, metadata, data: JSON.stringify(chunk) }
    })
    const done = await store.overwrite?.(emptied)
    if (done?.isErr()) {
      throw new ArtifactsUnreachable(`${stream} cannot be erased: ${done.error.type}`)
    }
  }
}

const parsedChunk = (data: string): Chunk => Chunk.parse(JSON.parse(data))

function patientFor(store: EventStore): StreamStore {
  const backoff = new Backoff(RETRY_MS)
  const signal = AbortSignal.timeout(PATIENCE_MS)
  return patientStore(store, {
    wait: ({ type }) => (type === 'store_failed' ? Promise.resolve(false) : backoff.wait(signal)),
  })
}

/** The port of artifacts rejects if the store is in trouble. @param words for an error that has none of its own */
function unwrap<T>(
  result: Result<T, { readonly type: string; readonly message?: string }>,
  words: (type: string) => string = String,
): T {
  if (result.isOk()) return result.value
  const { type, message = words(type) } = result.error
  throw new ArtifactsUnreachable(message)
}
