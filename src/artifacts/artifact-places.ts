import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { messageOf } from '../lib/message-of.ts'
import type { ArtifactFolder, ArtifactSource, Artifacts } from './artifacts.ts'

/**
 * Artifacts that are kept in one place and read from several, in this order.
 * @param kept where artifacts are put: all of these, or the call rejects
 * @param older where earlier versions, or the server that a log was copied from, have put them
 */
export function artifactsIn(kept: readonly Artifacts[], older: readonly Artifacts[]): Artifacts {
  const all = [...kept, ...older]
  const { read } = artifactsFrom(all)
  return {
    async put(content) {
      let sha256 = ''
      for (const place of kept) sha256 = await place.put(content)
      return sha256
    },

    read,

    async remove(sha256) {
      await Promise.all(all.map((place) => place.remove(sha256)))
    },
  }
}

/** Artifacts that are read from several places, in this order. Rejects if one may be in a place that is unreachable. */
export function artifactsFrom<S extends ArtifactSource>(places: readonly S[]): Pick<S, 'read'> {
  return {
    async read(sha256: string) {
      let unreachable: unknown = null
      for (const place of places) {
        const found = await place.read(sha256).catch((cause: unknown) => {
          unreachable ??= cause
          return null
        })
        if (found !== null) return found
      }
      if (unreachable !== null) throw unreachable
      return null
    },
  }
}

/**
 * Copies the artifacts of a folder that `to` does not have. Returns how many; rejects if it cannot.
 * @param isRedacted whether an artifact must not be kept: it may be redacted while it is copied
 */
export async function copyArtifacts(
  from: ArtifactFolder,
  to: Artifacts,
  options: {
    readonly isRedacted?: (sha256: string) => boolean
    readonly signal?: AbortSignal
  } = {},
): Promise<number> {
  const { isRedacted = () => false, signal } = options
  let copied = 0
  for await (const { sha256, path } of from.files()) {
    if (signal?.aborted) break
    if (isRedacted(sha256)) continue
    if (await holds(to, sha256)) continue
    await to.put(await readFile(path))
    if (isRedacted(sha256)) await to.remove(sha256)
    copied += 1
  }
  return copied
}

async function holds(place: Artifacts, sha256: string): Promise<boolean> {
  const present = await place.read(sha256)
  present?.stream.destroy()
  return present !== null
}

export type CopiedArtifacts = {
  readonly copied: number
  /** In neither place. */
  readonly missing: readonly string[]
  /** Those that could not be read or written, each with the reason: they may be there. */
  readonly failed: readonly { readonly sha256: string; readonly message: string }[]
}

/** How many artifacts may fail before the others are not looked for. */
const MAX_FAILED = 10

/** Copies the artifacts of these names that `to` does not have. Never rejects. */
export async function copyNamed(
  names: Iterable<string>,
  from: ArtifactSource,
  to: Artifacts,
): Promise<CopiedArtifacts> {
  let copied = 0
  const missing: string[] = []
  const failed: { readonly sha256: string; readonly message: string }[] = []
  for (const sha256 of names) {
    if (failed.length >= MAX_FAILED) break
    try {
      if (await holds(to, sha256)) continue
      const found = await from.read(sha256)
      if (found === null) missing.push(sha256)
      else if ((await to.put(await buffer(found.stream))) === sha256) copied += 1
      else failed.push({ sha256, message: 'The source has other contents under this name' })
    } catch (cause) {
      failed.push({ sha256, message: messageOf(cause) })
    }
  }
  return { copied, missing, failed }
}
