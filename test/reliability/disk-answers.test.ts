import { copyFile, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import type { Site } from '../support/site.ts'
import { test } from '../support/test.ts'
import { ASKING, EveryWrite, everything, TOKEN } from './api-writes.ts'
import { limitFiles, smallDisk } from './disks.ts'

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
  const claims: string[] = []
  for (const room of [0, 2 * FRAME + 100, 8 * FRAME]) {
    claims.push(
      ...(await writes.cross(async () => {
        const { size } = await stat(site.path('data', `${LOG}-wal`))
        limitFiles(server, size + room)
      })),
    )
    limitFiles(server, 'unlimited')
    await server.untilReady()
  }
  expect(new Set(claims)).toEqual(new Set(['done', 'nothing was done']))
  await server.kill()
  writes.compare(await stored(site.path('data')))
})

/** Breaks the disk under a running server. */
const FAULTS: Readonly<Record<string, (log: string) => Promise<void>>> = {
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

test('a full disk: every answer agrees with the log', async ({ site, skip }) => {
  const disk = await smallDisk(site, site.path('data'))
  if (disk === null) return skip()
  const server = await serve(site, disk.launcher)
  const writes = new EveryWrite(site, server)
  const claims = await writes.cross(() => disk.fill())
  expect(claims).toContain('nothing was done')
  await disk.empty()
  await server.untilReady()
  claims.push(...(await writes.cross(async () => {})))
  expect(claims).toContain('done')
  await server.kill()
  await disk.copyTo(site.path('copy'))
  writes.compare(await stored(site.path('copy')))
})
