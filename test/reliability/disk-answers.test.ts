import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import type { Site } from '../support/site.ts'
import { test } from '../support/test.ts'
import { ASKING, EveryWrite, everything, TOKEN } from './api-writes.ts'

const LOG = 'log.sqlite'

async function serve(site: Site, launcher: readonly string[] = []) {
  const model = await site.model(ASKING)
  return site.serve('data', { model, token: TOKEN, launcher })
}

/** What the log holds after the death of its server; nothing if it cannot be opened. */
async function stored(folder: string): Promise<RecordedEvent[]> {
  const file = join(folder, LOG)
  const isThere = await stat(file).then(
    () => true,
    () => false,
  )
  if (!isThere) return []
  const store = await openEmbeddedStore({ file })
  if (store.isErr()) return []
  try {
    return await everything(store.value)
  } finally {
    await store.value.close()
  }
}

/** A frame of SQLite's write-ahead log: a page of 4 KiB and its header, bytes. */
const FRAME = 4120

test('a quota that ends anywhere in a commit: every answer agrees with the log', async ({
  site,
}) => {
  const server = await serve(site)
  const writes = new EveryWrite(site, server)
  const limit = (bytes: number | 'unlimited') =>
    execFileSync('prlimit', ['--pid', String(server.process.pid), `--fsize=${bytes}:`])
  const claims: string[] = []
  for (const room of [0, 100, 2 * FRAME + 100, 8 * FRAME]) {
    claims.push(
      ...(await writes.cross(async () => {
        const { size } = await stat(site.path('data', `${LOG}-wal`))
        limit(size + room)
      })),
    )
    limit('unlimited')
    await server.untilReady()
  }
  expect(new Set(claims)).toEqual(new Set(['done', 'nothing was done']))
  await server.kill()
  writes.compare(await stored(site.path('data')))
})

/** Breaks the disk under a running server. */
const FAULTS: Readonly<Record<string, (log: string) => Promise<void>>> = {
  'the log is removed': (log) => rm(log),
  'its write-ahead log is removed': (log) => rm(`${log}-wal`),
  'the log is cut off': (log) => truncate(log, 8192),
  'the log is replaced by another file': async (log) => {
    await copyFile(log, `${log}.other`)
    await rm(log)
    await copyFile(`${log}.other`, log)
  },
}

test.for(Object.entries(FAULTS))(
  '%s while a server uses it: every answer agrees with the log',
  async ([_, begin], { site }) => {
    const server = await serve(site)
    const writes = new EveryWrite(site, server)
    let isBroken = false
    const claims = await writes.cross(async () => {
      if (!isBroken) await begin(site.path('data', LOG))
      isBroken = true
    })
    expect(claims).not.toContain('done')
    await server.kill()
    writes.compare(await stored(site.path('data')))
  },
)

/** A process in a mount namespace of its own, with a small disk at a folder; null if that is not possible. */
async function smallDisk(site: Site, folder: string, size: string) {
  await mkdir(folder, { recursive: true })
  const script = `mount -t tmpfs -o size=${size} none "$0" && echo mounted && exec sleep infinity`
  const holder = spawn(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-c', script, folder],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const exited = once(holder, 'exit').catch(() => {})
  const isMounted = await Promise.race([
    once(holder.stdout, 'data').then(() => true),
    once(holder, 'error').then(() => false),
    exited.then(() => false),
  ])
  if (!isMounted) return null
  site.onClose(async () => {
    holder.kill('SIGKILL')
    await exited
  })
  return {
    launcher: ['nsenter', '--target', String(holder.pid), '--mount'],
    /** The folder as the processes in the namespace see it. */
    folder: `/proc/${holder.pid}/root${folder}`,
  }
}

test('a full disk: every answer agrees with the log', async ({ site, skip }) => {
  const disk = await smallDisk(site, site.path('data'), '16m')
  if (disk === null) {
    console.warn('*** SKIPPED: a test of a full disk, which needs root and unshare --mount')
    return skip()
  }
  const server = await serve(site, disk.launcher)
  const writes = new EveryWrite(site, server)
  const claims = await writes.cross(() => fill(join(disk.folder, 'ballast')))
  expect(claims).toContain('nothing was done')
  await rm(join(disk.folder, 'ballast'))
  await server.untilReady()
  claims.push(...(await writes.cross(async () => {})))
  expect(claims).toContain('done')
  await server.kill()
  await mkdir(site.path('copy'))
  for (const name of await readdir(disk.folder)) {
    if (!name.startsWith(LOG)) continue
    await copyFile(join(disk.folder, name), site.path('copy', name))
  }
  writes.compare(await stored(site.path('copy')))
})

/** Fills the rest of a disk. */
async function fill(file: string): Promise<void> {
  const ballast = await open(file, 'a')
  try {
    for (;;) await ballast.write(Buffer.alloc(4096))
  } catch (cause) {
    expect(String(cause)).toContain('ENOSPC')
  } finally {
    await ballast.close()
  }
}
