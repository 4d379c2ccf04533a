import { readFile } from 'node:fs/promises'
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
    const present = await to.read(sha256)
    present?.stream.destroy()
    if (present !== null) continue
    await to.put(await readFile(path))
    if (isRedacted(sha256)) await to.remove(sha256)
    copied += 1
  }
  return copied
}
