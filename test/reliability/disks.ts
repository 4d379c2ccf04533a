import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Site, SiteServer } from '../support/site.ts'

/** What starts a program in a mount namespace of its own, in which nothing can be written to a folder. */
export const READ_ONLY = (folder: string): readonly string[] => [
  'unshare',
  '--mount',
  '--propagation',
  'private',
  'sh',
  '-c',
  'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"',
  folder,
]

/** A quota: how large the files of a server may become, in bytes. */
export const limitFiles = ({ process: { pid } }: SiteServer, bytes: number | 'unlimited') =>
  execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`])

/** Whether this machine lets a test mount something. */
export const canMount = ((): boolean => {
  try {
    const script = ['--propagation', 'private', 'mount', '-t', 'tmpfs', 'none', '/mnt']
    execFileSync('unshare', ['--mount', ...script], { stdio: 'ignore' })
    return process.getuid?.() === 0
  } catch {
    process.stderr.write('*** SKIPPED: tests of a full and of a read-only disk, which need root\n')
    return false
  }
})()

/** A disk of 16 MiB at a folder, for the processes that its launcher starts; null if that is not possible. */
export async function smallDisk(site: Site, folder: string) {
  if (!canMount) return null
  await mkdir(folder, { recursive: true })
  const script = 'mount -t tmpfs -o size=16m none "$0" && echo mounted && exec sleep infinity'
  const command = ['--mount', '--propagation', 'private', 'sh', '-c', script, folder]
  const holder = spawn('unshare', command, { stdio: ['ignore', 'pipe', 'ignore'] })
  const exited = once(holder, 'exit')
  await once(holder.stdout, 'data')
  site.onClose(async () => {
    holder.kill('SIGKILL')
    await exited
  })
  /** The folder as the processes in the namespace see it. */
  const seen = `/proc/${holder.pid}/root${folder}`
  const ballast = join(seen, 'ballast')
  return {
    launcher: ['nsenter', '--target', String(holder.pid), '--mount'],
    /** Either this or a server uses the rest of the space. */
    fill: async () => {
      await using file = await open(ballast, 'a')
      for (;;) {
        const written = await file.write(Buffer.alloc(4096)).catch((cause) => cause.code)
        if (written === 'ENOSPC') return
      }
    },
    empty: () => rm(ballast),
    /** Copies what is on it. */
    copyTo: (to: string) => cp(seen, to, { recursive: true }),
  }
}
