import type { Logger } from 'pino'
import type { Artifacts } from '../artifacts/artifacts.ts'
import type { Projector } from '../projections/projector.ts'
import type { SqliteReadModel } from '../projections/sqlite-read-model.ts'
import type { EventStore } from '../store/event-store.ts'
import type { Settings } from './settings.ts'

/** What nearly every part of the server needs. */
export type Parts = {
  readonly settings: Settings
  readonly log: Logger
  /** The log without redacted text. */
  readonly store: EventStore
  readonly artifacts: Artifacts
  readonly readModel: SqliteReadModel
  readonly projector: Projector
}

/** Seconds since the epoch, with a fraction, as in all records. */
export const now = (): number => Date.now() / 1000

export const date = (): Date => new Date()
