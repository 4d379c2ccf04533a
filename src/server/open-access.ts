import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { Logger } from 'pino'
import { Access } from '../auth/auth.ts'
import type { EventStore } from '../store/event-store.ts'
import { now } from './clocks.ts'
import { isLoopback, type Settings } from './settings.ts'

/** How long a server that may not listen without tokens waits to learn whether there are any. */
const TOKENS_WITHIN_MS = 10_000

/** Who may ask. Beyond loopback somebody must be asked for a token; the error is a text for people. */
export async function openAccess(
  settings: Settings,
  log: Logger,
  store: EventStore,
): Promise<Result<Access, string>> {
  const { RETRAI_HOST: host, RETRAI_TOKEN: configured = null, EVENTSTORE_URL } = settings
  // An embedded log is always there to be read.
  const kept =
    EVENTSTORE_URL === undefined ? undefined : join(settings.RETRAI_DATA_DIR, 'tokens.json')
  const access = await Access.open({ store, configured, clock: now, log, keptIn: kept })
  if (isLoopback(host) || configured !== null) return ok(access)
  const read = await access.read(TOKENS_WITHIN_MS)
  if (read && access.guarded) return ok(access)
  await access.close()
  const why = read ? 'and none was made' : 'and the log cannot be read to see whether there is any'
  return err(
    `This server runs shell commands, so it listens on ${host} only where tokens are asked for, ${why}. Make one with "retrai token create NAME --role admin" and the same --data-dir or --store, or set RETRAI_TOKEN, or keep --host 127.0.0.1.`,
  )
}
