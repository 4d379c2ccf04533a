import { readdir, readFile, readlink } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'

/** How long the processes of a server that was killed may take to follow it, milliseconds. */
const PATIENCE_MS = 10_000

/** The processes that still run in a folder, after some patience. Linux only; elsewhere none is found. */
export async function processesIn(folder: string): Promise<string[]> {
  const end = performance.now() + PATIENCE_MS
  for (;;) {
    const found = await look(folder)
    if (found.length === 0 || performance.now() > end) return found
    await delay(50)
  }
}

async function look(folder: string): Promise<string[]> {
  const names = await readdir('/proc').catch(() => [])
  const found = await Promise.all(
    names.filter((name) => /^\d+$/.test(name)).map((pid) => describe(pid, folder)),
  )
  return found.filter((line) => line !== null)
}

async function describe(pid: string, folder: string): Promise<string | null> {
  try {
    if (!(await readlink(`/proc/${pid}/cwd`)).startsWith(folder)) return null
    return `${pid} ${(await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ')}`
  } catch {
    return null
  }
}
