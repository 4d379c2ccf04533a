import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { Logger } from 'pino'
import { Auth } from '../auth/auth.ts'
import { Redactor } from '../redaction/redactor.ts'
import { withRedactions } from '../redaction/with-redactions.ts'
import { openEmbeddedStore } from '../store/embedded/embedded-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { withCrashingAppends } from './crash-points.ts'
import { now } from './parts.ts'
import { isLoopback, type Settings } from './settings.ts'

/** The log as it is stored, the same without what was taken out of it, and who takes it out. */
type OpenLog = {
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

/** How long a server that may not listen without tokens waits to learn whether there are any. */
const TOKENS_WITHIN_MS = 10_000

/** Who may ask. Beyond loopback somebody must be asked for a token; the error is a text for people. */
export async function openAuth(
  settings: Settings,
  log: Logger,
  store: EventStore,
): Promise<Result<Auth, string>> {
  const { RETRAI_HOST: host, RETRAI_TOKEN: configured = null, EVENTSTORE_URL } = settings
  // An embedded log is always there to be read.
  const kept =
    EVENTSTORE_URL === undefined ? undefined : join(settings.RETRAI_DATA_DIR, 'tokens.json')
  const auth = await Auth.open({ store, configured, clock: now, log, keptIn: kept })
  if (isLoopback(host) || configured !== null) return ok(auth)
  const read = await auth.read(TOKENS_WITHIN_MS)
  if (read && auth.guarded) return ok(auth)
  await auth.close()
  const why = read ? 'and none was made' : 'and the log cannot be read to see whether there is any'
  return err(
    `This server runs shell commands, so it listens on ${host} only where tokens are asked for, ${why}. Make one with "retrai token create NAME --role admin" and the same --data-dir or --store, or set RETRAI_TOKEN, or keep --host 127.0.0.1.`,
  )
}
