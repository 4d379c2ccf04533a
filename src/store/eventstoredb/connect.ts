import { setImmediate } from 'node:timers/promises'
import { EventStoreDBClient } from '@eventstore/db-client'
import { err, ok, type Result } from 'neverthrow'
import { BrokenInvariant } from '../../domain/errors.ts'
import type { StoreFailure } from '../event-store.ts'
import { effectiveOptions } from './connection-options.ts'
import { clientMessageOf } from './failures.ts'

/**
 * Makes a client for an `esdb://` connection string. It connects when it is first used.
 * @returns `store_failed` for a string, or a certificate file named in it, that cannot be used
 */
export function connect(
  connectionString: string,
  log: (message: string) => void,
): Result<EventStoreDBClient, StoreFailure> {
  try {
    const client = EventStoreDBClient.connectionString(effectiveOptions(connectionString, log))
    mend(client, log)
    return ok(client)
  } catch (cause) {
    const message = `The connection string of EventStoreDB cannot be used: ${clientMessageOf(cause)}`
    return err({ type: 'store_failed', message })
  }
}

/**
 * Two habits of the client (6.2.1) would end the whole process, so its own methods are replaced:
 *
 * - Batch appends share one table of unanswered appends between all connections. A lost connection
 *   rejects the appends of the healthy one, whose answers then throw where nobody can catch. Saying
 *   that the server has no batch append makes the client use a call of its own for each append.
 * - `handleError`, which replaces a failed connection, is never awaited: when it fails the rejection is
 *   unhandled. And it closes the channel under an append that is just being started, which has the same
 *   end; so it is put off until no append can be in between.
 */
function mend(client: EventStoreDBClient, log: (message: string) => void): void {
  const handleError: unknown = Reflect.get(client, 'handleError')
  if (typeof handleError !== 'function' || typeof Reflect.get(client, 'supports') !== 'function') {
    throw new BrokenInvariant('this version of @eventstore/db-client is not the one we know')
  }
  Object.assign(client, {
    supports: async () => false,
    handleError: async (...args: unknown[]) => {
      try {
        await setImmediate()
        await Reflect.apply(handleError, client, args)
      } catch (cause) {
        log(`EventStoreDB: the connection could not be replaced: ${clientMessageOf(cause)}`)
      }
    },
  })
}
