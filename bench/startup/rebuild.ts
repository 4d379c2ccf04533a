import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Projector } from '../../src/projections/projector.ts'
import { openReadModel } from '../../src/projections/sqlite-read-model.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'

const log = { info: () => {}, warn: console.warn, error: console.error }

export type Rebuild = {
  /** Records a second, from an empty read model until it has caught up. */
  readonly projected: number
  /** Records a second, through the store's port alone. */
  readonly subscribed: number
  /** Records a second, through a bare SELECT in this thread. */
  readonly scanned: number
}

/** Times a rebuild of a data folder's read model from zero, and two ways to only read the same log. */
export async function timeRebuild(dataDir: string, records: number): Promise<Rebuild> {
  const file = join(dataDir, 'log.sqlite')
  const perSecond = (seconds: number): number => records / seconds
  return {
    scanned: perSecond(scan(file, records)),
    subscribed: perSecond(await subscribe(file, records)),
    projected: perSecond(await project(file, dataDir)),
  }
}

const since = (began: number): number => (performance.now() - began) / 1000

function scan(file: string, expected: number): number {
  const db = new DatabaseSync(file, { readOnly: true })
  const began = performance.now()
  let rows = 0
  const select = db.prepare(`
    SELECT position, name, revision, e.id, type, data, metadata, created
    FROM events e JOIN streams s ON s.id = e.stream_id ORDER BY position`)
  for (const _ of select.iterate()) rows += 1
  const seconds = since(began)
  db.close()
  if (rows !== expected) throw new Error(`${rows} of ${expected} records were read`)
  return seconds
}

async function subscribe(file: string, expected: number): Promise<number> {
  const store = (await openEmbeddedStore({ file }))._unsafeUnwrap()
  const stop = new AbortController()
  const began = performance.now()
  let records = 0
  const options = { after: null, prefix: 'run-', signal: stop.signal }
  for await (const item of store.subscribeAll(options)) {
    if (item.type === 'events') records += item.events.length
    else break
  }
  const seconds = since(began)
  stop.abort()
  await store.close()
  if (records !== expected) throw new Error(`${records} of ${expected} records were delivered`)
  return seconds
}

async function project(file: string, dataDir: string): Promise<number> {
  const store = (await openEmbeddedStore({ file }))._unsafeUnwrap()
  const readModel = openReadModel({ file: join(dataDir, 'read-model.sqlite'), log })._unsafeUnwrap()
  const began = performance.now()
  const projector = new Projector({ store, readModel, log })
  await projector.caughtUpOnce()
  const seconds = since(began)
  await projector.stop()
  readModel.close()
  await store.close()
  return seconds
}
