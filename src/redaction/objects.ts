import { buffer } from 'node:stream/consumers'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import { allArtifactsOf, NAMING_KINDS } from '../domain/named-artifacts.ts'
import type { GitObject } from '../lib/git-objects.ts'
import { readPack } from '../lib/git-pack.ts'
import { messageOf } from '../lib/message-of.ts'
import { writePack } from '../lib/write-pack.ts'
import { decode } from '../log/codec.ts'
import { RUN_STREAM_PREFIX, runIdOf } from '../log/run-log.ts'
import { logPages } from '../log/stream-pages.ts'
import type { EventStore, StoreFailure } from '../store/event-store.ts'

/** A pack of snapshots in which objects hold a text, or another artifact of a run that holds it: a list, or a hidden check. */
export type TaintedPack = {
  /** The first record that names it. */
  readonly runId: string
  readonly seq: number
  readonly sha256: string
  /** The ids of those objects; none of another artifact. */
  readonly objects: readonly string[]
  /** A pack of the others; null if there are none. */
  readonly rest: Buffer | null
}

type Searched = {
  readonly store: Pick<EventStore, 'subscribeAll'>
  readonly artifacts: ArtifactSource
}

/** A person waits for the answer, so a store that sends nothing for this long, in milliseconds, is given up early. */
const SILENT_MS = 10_000

/** The packs, lists and hidden checks of all runs in which one of the texts is. Fails if the place of the artifacts cannot be read now. */
export async function taintedPacks(
  { store, artifacts }: Searched,
  texts: readonly string[],
  packsOf: (sha256: string) => readonly string[],
): Promise<Result<readonly TaintedPack[], StoreFailure | ArtifactsAway>> {
  const needles = texts.map((text) => Buffer.from(text))
  const tainted: TaintedPack[] = []
  const seen = new Set<string>()
  if (needles.length === 0) return ok(tainted)
  const part = { prefix: RUN_STREAM_PREFIX, silentMs: SILENT_MS }
  for await (const page of logPages(store, part)) {
    if (page.isErr()) return err(page.error)
    for (const event of page.value) {
      if (event.type === 'tool_result' || !NAMING_KINDS.has(event.type)) continue
      const record = decode(event).unwrapOr(null)?.record
      if (record === undefined) continue
      for (const sha256 of allArtifactsOf(record).flatMap(packsOf)) {
        if (seen.has(sha256)) continue
        seen.add(sha256)
        const found = await ResultAsync.fromPromise(searched(artifacts, sha256, needles), away)
        if (found.isErr()) return err(found.error)
        if (found.value === null) continue
        tainted.push({ runId: runIdOf(event.stream), seq: event.revision, sha256, ...found.value })
      }
    }
  }
  return ok(tainted)
}

/** The place of the artifacts cannot be read or written now. */
export type ArtifactsAway = { readonly type: 'artifact_unreachable'; readonly message: string }

export const away = (cause: unknown): ArtifactsAway => {
  return { type: 'artifact_unreachable', message: messageOf(cause) }
}

async function searched(
  artifacts: ArtifactSource,
  sha256: string,
  needles: readonly Buffer[],
): Promise<Pick<TaintedPack, 'objects' | 'rest'> | null> {
  const found = await artifacts.read(sha256)
  if (found === null) return null
  const content = await buffer(found.stream)
  const pack = readPack(content)
  if (pack.isErr()) return holds(content, needles.map(inJson)) ? { objects: [], rest: null } : null
  const all = pack.value
  const objects = all.filter((object) => holds(object.content, needles)).map(({ id }) => id)
  return objects.length === 0 ? null : { objects, rest: packWithout(all, new Set(objects)) }
}

const holds = (content: Buffer, needles: readonly Buffer[]): boolean =>
  needles.some((needle) => content.includes(needle))

/** A text as it is within a string of JSON. */
const inJson = (text: Buffer): Buffer => Buffer.from(JSON.stringify(text.toString()).slice(1, -1))

/** A pack of these objects without some; null if nothing is left. */
function packWithout(objects: readonly GitObject[], ids: ReadonlySet<string>): Buffer | null {
  const left = objects.filter(({ id }) => !ids.has(id))
  return left.length === 0 ? null : writePack(left)
}

/** The same pack if it holds none of these objects; else one without them, or null. A damaged one stays. */
export function withoutObjects(pack: Buffer, ids: ReadonlySet<string>): Buffer | null {
  if (ids.size === 0) return pack
  const objects = readPack(pack).unwrapOr([])
  return objects.some(({ id }) => ids.has(id)) ? packWithout(objects, ids) : pack
}
