import { type StatsFs, statfsSync } from 'node:fs'
import { lstat, opendir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Limits, Stop } from './protocol.ts'

const MIB = 1024 * 1024
const INTERVAL_MS = 500
/** The share of time that measuring may take: a folder with many files is measured less often. */
const MAX_SHARE = 0.05
const BLOCK_BYTES = 512
const LOOKS_AT_ONCE = 32

/** What a command writes to. */
type Watched = {
  /** Its home and its temporary files, if they are on the disk and not in memory. */
  readonly homes: readonly string[]
  /** Folders on the disks that it writes to. */
  readonly disks: readonly string[]
  readonly limits: Pick<Limits, 'homeBytes' | 'freeDiskBytes'>
  readonly onTooMuch: (stop: Stop) => void
}

/** Watches what a command leaves on the disk, until the returned function is called. */
export function watchDisk({ homes, disks, limits, onTooMuch }: Watched): () => void {
  let isOver = false
  let measureAt = 0
  const look = async (): Promise<void> => {
    const short = await diskShortage(disks, limits.freeDiskBytes)
    if (short !== null) onTooMuch({ cause: 'disk_full', why: `left less than ${short}` })
    const begun = performance.now()
    if (begun >= measureAt && homes.length > 0) {
      let bytes = 0
      for (const folder of homes) bytes += await sizeOf(folder, () => isOver)
      if (bytes > limits.homeBytes) {
        const why = `wrote more than ${Math.round(limits.homeBytes / MIB)} MiB into its home and its temporary files`
        onTooMuch({ cause: 'disk_full', why })
      }
      const now = performance.now()
      measureAt = now + (now - begun) / MAX_SHARE
    }
    if (!isOver) timer = setTimeout(look, INTERVAL_MS)
  }
  let timer = setTimeout(look, INTERVAL_MS)
  return () => {
    isOver = true
    clearTimeout(timer)
  }
}

/** What is missing on the first disk that has less free space than this, as a part of a sentence; null if none has. */
export async function diskShortage(
  folders: readonly string[],
  freeBytes: number,
): Promise<string | null> {
  for (const folder of folders) {
    const disk = await statfs(folder).catch(() => null)
    const short = disk === null ? null : shortOf(disk, folder, freeBytes)
    if (short !== null) return short
  }
  return null
}

/**
 * The same for one folder, synchronously, because handing the question to another thread takes longer than the answer.
 * Only for processes that may wait for a disk.
 */
export function diskShortageNow(folder: string, freeBytes: number): string | null {
  try {
    return shortOf(statfsSync(folder), folder, freeBytes)
  } catch {
    return null
  }
}

const shortOf = ({ bavail, bsize }: StatsFs, folder: string, freeBytes: number): string | null =>
  bavail * bsize < freeBytes
    ? `${Math.round(freeBytes / MIB)} MiB free on the disk of ${folder}`
    : null

/** Why no command is started, for people. */
export const noDisk = (short: string): string =>
  `No command is started: there is less than ${short}. Free some space.`

/** What a folder takes of its disk, in bytes. What cannot be read counts nothing. */
async function sizeOf(folder: string, isOver: () => boolean): Promise<number> {
  let bytes = 0
  const folders = [folder]
  for (let at = folders.pop(); at !== undefined && !isOver(); at = folders.pop()) {
    const names: string[] = []
    try {
      for await (const entry of await opendir(at)) {
        if (entry.isDirectory()) folders.push(join(at, entry.name))
        names.push(join(at, entry.name))
      }
    } catch {
      // It is gone, or of another user.
    }
    for (let from = 0; from < names.length; from += LOOKS_AT_ONCE) {
      const looks = names.slice(from, from + LOOKS_AT_ONCE).map((path) => lstat(path))
      for (const look of await Promise.allSettled(looks)) {
        if (look.status === 'fulfilled') bytes += look.value.blocks * BLOCK_BYTES
      }
    }
  }
  return bytes
}
