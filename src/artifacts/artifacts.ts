import { randomUUID } from 'node:crypto'
import type { ReadStream } from 'node:fs'
import { mkdir, open, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { sha256 as sha256Of } from '../lib/sha256.ts'

type Artifact = { readonly bytes: number; readonly stream: ReadStream }

/** Files named by the SHA-256 of what is in them, as 64 lower-case hex digits. */
export type Artifacts = {
  /** Keeps content and answers its SHA-256; it is on the disk by then. Rejects where it cannot be. */
  put(content: string | Buffer): Promise<string>
  /** Opens an artifact; null where there is none of that name. The stream must be read or destroyed. */
  read(sha256: string): Promise<Artifact | null>
  /** Deletes an artifact, if there is one of that name. */
  remove(sha256: string): Promise<void>
}

const SHA256 = /^[0-9a-f]{64}$/

/** Content-addressed files below `dir`, as `dir/ab/abcd…`. The folder is made when it is needed. */
export function createArtifacts(dir: string): Artifacts {
  const pathOf = (sha256: string): string => join(dir, sha256.slice(0, 2), sha256)
  return {
    async put(content) {
      const sha256 = sha256Of(content)
      const path = pathOf(sha256)
      // A file gets its name only once it is complete, so one that is there is right.
      if ((await stat(path).catch(() => null)) === null) await writeDurably(path, content)
      return sha256
    },

    async read(sha256) {
      if (!SHA256.test(sha256)) return null
      const file = await open(pathOf(sha256), 'r').catch(missing)
      if (file === null) return null
      const { size } = await file.stat()
      return { bytes: size, stream: file.createReadStream() }
    },

    async remove(sha256) {
      if (!SHA256.test(sha256)) return
      const removed = await unlink(pathOf(sha256)).then(() => true, missing)
      if (removed !== null) await syncFolder(dirname(pathOf(sha256)))
    },
  }
}

function missing(cause: unknown): null {
  if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return null
  throw cause
}

async function writeDurably(path: string, content: string | Buffer): Promise<void> {
  const folder = dirname(path)
  const created = await mkdir(folder, { recursive: true, mode: 0o700 })
  const temporary = join(folder, `.${randomUUID()}.tmp`)
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true })
    throw cause
  }
  await syncFolder(folder)
  if (created !== undefined) await syncFolder(dirname(folder))
}

/** A name lives in its folder, so the folder must reach the disk too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
