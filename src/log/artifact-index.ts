import { err, ok, type Result } from 'neverthrow'
import { OWN_STREAM_PREFIX } from '../domain/records.ts'
import { LruCache } from '../lib/lru-cache.ts'
import type { EventStore } from '../store/event-store.ts'
import { decode } from './codec.ts'
import { type LoadError, streamOf } from './run-log.ts'
import { streamPages } from './stream-pages.ts'

/** Runs whose artifacts are kept in memory. */
const RUNS = 16

/** The artifacts that the records of a run name, up to the record `last`. */
type Known = { readonly artifacts: ReadonlySet<string>; readonly last: number }
const NOTHING: Known = { artifacts: new Set(), last: -1 }

const NAMES_ARTIFACT = /"sha256"\s*:\s*"/

/** The artifacts of each run, by its records. */
export class ArtifactIndex {
  readonly #store: EventStore
  readonly #known = new LruCache<Known>(RUNS)

  constructor(store: EventStore) {
    this.#store = store
  }

  /** Whether a tool result of the run names the artifact. */
  async names(runId: string, sha256: string): Promise<Result<boolean, LoadError>> {
    const known = this.#known.get(runId) ?? NOTHING
    if (known.artifacts.has(sha256)) return ok(true)
    const read = await this.#read(runId, known)
    if (read.isErr()) return err(read.error)
    this.#known.set(runId, read.value)
    return ok(read.value.artifacts.has(sha256))
  }

  async #read(runId: string, { artifacts, last }: Known): Promise<Result<Known, LoadError>> {
    const found = new Set(artifacts)
    let read = last
    for await (const page of streamPages(this.#store, streamOf(runId), { after: last })) {
      if (page.isErr()) return err(page.error)
      for (const event of page.value) {
        read = event.revision
        if (event.type !== 'tool_result' || !NAMES_ARTIFACT.test(event.data)) continue
        const decoded = decode(event)
        if (decoded.isErr()) return err(decoded.error)
        const { record } = decoded.value
        if (record.kind !== 'tool_result' || record.payload.sha256 === null) continue
        found.add(record.payload.sha256)
      }
    }
    return ok({ artifacts: found, last: read })
  }
}

const ARTIFACT_STREAM_PREFIX = `${OWN_STREAM_PREFIX}artifact-`

export const artifactStream = (sha256: string): string => `${ARTIFACT_STREAM_PREFIX}${sha256}`

/** The SHA-256 of the artifact that a stream holds; null for other streams. */
export const artifactOfStream = (stream: string): string | null =>
  stream.startsWith(ARTIFACT_STREAM_PREFIX) ? stream.slice(ARTIFACT_STREAM_PREFIX.length) : null
