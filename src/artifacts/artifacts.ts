import { constants } from 'node:fs'
import { open, readdir, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { codeOf, messageOf } from '../lib/message-of.ts'
import { sha256 as sha256Of } from '../lib/sha256.ts'
import { syncFolder, writeDurably } from '../lib/write-durably.ts'

/** Where whole tool outputs are kept, by their SHA-256 (64 lower-case hex digits). */
export type ArtifactSource = {
  /** Opens an artifact; null if there is no artifact of that name. The stream must be read or destroyed. */
  read(
    sha256: string,
  ): Promise<{ readonly bytes: number; readonly stream: AsyncIterable<Uint8Array> } | null>
}

/** Where artifacts are kept. */
export type Artifacts = {
  /** Keeps content and returns its SHA-256 once it is stored. Rejects if it cannot be stored. */
  put(content: string | Buffer): Promise<string>
  /** As of `ArtifactSource`. Rejects if the place cannot be read now. */
  read(sha256: string): Promise<{ readonly bytes: number; readonly stream: Readable } | null>
  /** Deletes an artifact, if there is one of that name. */
  remove(sha256: string): Promise<void>
}

/** Artifacts as files of one folder. */
export type ArtifactFolder = Artifacts & {
  /** The names of all that the folder holds. */
  names(): AsyncIterable<string>
}

/** The place of artifacts does not answer now: nothing is known about whether it has one. */
export class ArtifactsUnreachable extends Error {}

const SHA256 = /^[0-9a-f]{64}$/

/** Content-addressed files below `dir`, as `dir/ab/abcd…`. The first artifact creates the folder. */
export function createArtifacts(dir: string): ArtifactFolder {
  const pathOf = (sha256: string): string => join(dir, sha256.slice(0, 2), sha256)
  return {
    async put(content) {
      const sha256 = sha256Of(content)
      const path = pathOf(sha256)
      // A file gets its name only when it is complete, so a file that exists is right.
      if ((await stat(path).catch(() => null)) === null) await writeDurably(path, content)
      return sha256
    },

    async read(sha256) {
      if (!SHA256.test(sha256)) return null
      // A link would show another file, whose content somebody can change.
      const file = await open(pathOf(sha256), constants.O_RDONLY | constants.O_NOFOLLOW).catch(
        missing,
      )
      if (file === null) return null
      const { size } = await file.stat()
      return { bytes: size, stream: file.createReadStream() }
    },

    async remove(sha256) {
      if (!SHA256.test(sha256)) return
      const removed = await unlink(pathOf(sha256)).then(() => true, missing)
      if (removed !== null) await syncFolder(dirname(pathOf(sha256)))
    },

    async *names() {
      for (const folder of (await readdir(dir).catch(missing)) ?? []) {
        for (const name of await readdir(join(dir, folder))) if (SHA256.test(name)) yield name
      }
    },
  }
}

function missing(cause: unknown): null {
  if (codeOf(cause) === 'ENOENT') return null
  throw cause
}

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

/** Copies an artifact, unless `to` has it. Rejects if it cannot be read or kept. */
export async function copyArtifact(
  sha256: string,
  from: ArtifactSource,
  to: Artifacts,
): Promise<'copied' | 'present' | 'missing'> {
  const present = await to.read(sha256)
  present?.stream.destroy()
  if (present !== null) return 'present'
  const found = await from.read(sha256)
  if (found === null) return 'missing'
  if ((await to.put(await buffer(found.stream))) === sha256) return 'copied'
  throw new Error('The source has other contents under this name')
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
      const done = await copyArtifact(sha256, from, to)
      if (done === 'missing') missing.push(sha256)
      if (done === 'copied') copied += 1
    } catch (cause) {
      failed.push({ sha256, message: messageOf(cause) })
    }
  }
  return { copied, missing, failed }
}
