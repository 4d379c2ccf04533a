import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { Effects } from '../../src/agent/run/effects.ts'
import { Supervisor } from '../../src/agent/supervisor/supervisor.ts'
import { FolderLocks } from '../../src/carry/folder-locks.ts'
import { Projector } from '../../src/projections/projector.ts'
import { openReadModel, type SqliteReadModel } from '../../src/projections/sqlite-read-model.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { must } from './must.ts'

export const now = (): number => Date.now() / 1000
/** More runs than any bench starts at once. */
const MAX_RUNS_AT_WORK = 64
const log = { info: () => {}, warn: console.warn, error: console.error }

type Projections = { readonly readModel: SqliteReadModel; stop(): Promise<void> }

/** Store, projections and supervisor, composed as in the server. */
export class Service {
  readonly store: EventStore
  readonly readModel: SqliteReadModel
  readonly #supervisor: Supervisor
  readonly #projections: Projections

  private constructor(store: EventStore, projections: Projections, supervisor: Supervisor) {
    this.store = store
    this.readModel = projections.readModel
    this.#projections = projections
    this.#supervisor = supervisor
  }

  /** @param options.projecting whether the log is projected (default true) */
  static async open(
    folder: string,
    effects: Effects,
    options: { readonly projecting?: boolean } = {},
  ): Promise<Service> {
    const store = must(await openEmbeddedStore({ file: join(folder, 'log.sqlite') }))
    const readModel = must(openReadModel({ file: join(folder, 'read.sqlite'), log }))
    const projector = options.projecting === false ? null : new Projector({ store, readModel, log })
    await projector?.caughtUpOnce()
    const supervisor = new Supervisor({
      stopped: new Set(),
      locks: new FolderLocks(),
      store,
      effects,
      process: {
        server: 'bench',
        claimant: `bench/${randomUUID()}`,
        pid: process.pid,
        host: 'bench',
      },
      pool: null,
      leaseMs: null,
      now,
      newId: randomUUID,
      retryMs: [100, 5_000],
      maxRunsAtWork: MAX_RUNS_AT_WORK,
      log,
    })
    const { runs, asOf } = readModel.unfinished()
    supervisor.start(runs, asOf)
    const stop = async (): Promise<void> => projector?.stop()
    return new Service(store, { readModel, stop }, supervisor)
  }

  async close(): Promise<void> {
    await this.#supervisor.stop()
    await this.#projections.stop()
    this.readModel.close()
    await this.store.close()
  }
}
