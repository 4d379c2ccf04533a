import { join } from 'node:path'
import type { Result } from 'neverthrow'
import type { Logger } from 'pino'
import { Redactor } from '../redaction/redactor.ts'
import { withRedactions } from '../redaction/with-redactions.ts'
import { openEmbeddedStore } from '../store/embedded/embedded-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { withCrashingAppends } from './crash-points.ts'
import type { Settings } from './settings.ts'

/** The log as it is stored, the same without what was taken out of it, and who takes it out. */
export type OpenLog = {
  readonly ledger: EventStore
  readonly store: EventStore
  readonly redactor: Redactor
}

/** Opens the store that is configured. The error is a text for people. */
export async function openLog(settings: Settings, log: Logger): Promise<Result<OpenLog, string>> {
  const opened = await openStore(settings, log)
  return opened.map((whole) => {
    const ledger = withCrashingAppends(whole, settings.RETRAI_CRASH_AT)
    const redactor = new Redactor({ store: ledger, log })
    return { ledger, store: withRedactions(ledger, redactor), redactor }
  })
}

async function openStore(settings: Settings, log: Logger): Promise<Result<EventStore, string>> {
  const { EVENTSTORE_URL: connectionString, RETRAI_DATA_DIR: dataDir } = settings
  if (connectionString === undefined) {
    const opened = await openEmbeddedStore({ file: join(dataDir, 'log.sqlite') })
    return opened.mapErr(({ message }) => message)
  }
  // Loaded here, so that who does not use it does not wait for its client.
  const { openEventStoreDb } = await import('../store/eventstoredb/eventstoredb-store.ts')
  const opened = await openEventStoreDb({ connectionString, log: (message) => log.warn(message) })
  return opened.mapErr(({ message }) => message)
}
