import { join } from 'node:path'
import { Projector } from '../../src/projections/projector.ts'
import { openReadModel, type SqliteReadModel } from '../../src/projections/sqlite-read-model.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { openEventStoreDb } from '../../src/store/eventstoredb/eventstoredb-store.ts'
import { must } from '../loop/must.ts'

const log = { info: () => {}, warn: console.warn, error: console.error }

export type ProjectedStore = {
  /** The file of the log. */
  readonly file: string
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  close(): Promise<void>
}

/**
 * Store and projections, as the server has them, without an agent.
 * @param connectionString of the EventStoreDB to use instead of the embedded store
 */
export async function openProjectedStore(
  folder: string,
  connectionString?: string,
): Promise<ProjectedStore> {
  const file = join(folder, 'log.sqlite')
  const store = must(
    connectionString === undefined
      ? await openEmbeddedStore({ file })
      : await openEventStoreDb({ connectionString }),
  )
  const readModel = must(openReadModel({ file: join(folder, 'read.sqlite'), log }))
  const projector = new Projector({ store, readModel, log })
  await projector.caughtUpOnce()
  const close = async (): Promise<void> => {
    await projector.stop()
    readModel.close()
    await store.close()
  }
  return { file, store, readModel, close }
}
