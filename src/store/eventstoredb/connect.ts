import { setImmediate } from 'node:timers/promises'
import { EventStoreDBClient } from '@eventstore/db-client'
import { err, ok, type Result } from 'neverthrow'
import { BrokenInvariant } from '../../domain/errors.ts'
import type { StoreFailure } from '../event-store.ts'
import { clientMessageOf } from './calls.ts'

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
 *   rejects the appends of the healthy one, whose answers then throw where nothing can catch it. Saying
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

/** The options that the client knows, without those that we cannot leave to it. */
const KNOWN = new Set([
  'connectionname',
  'defaultdeadline',
  'discoveryinterval',
  'gossiptimeout',
  'keepaliveinterval',
  'keepalivetimeout',
  'maxdiscoverattempts',
  'nodepreference',
  'tls',
  'tlscafile',
  'usercertfile',
  'userkeyfile',
])

/** Why an option that the client would take, or complain of, is left out. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  tlsverifycert: 'it has no effect in this client: name the authority with tlsCAFile',
  throwonappendfailure: 'a refused append is always reported',
}

const flat = (key: string): string => key.trim().toLowerCase().replace(/[_-]/g, '')

/**
 * The connection string without the options that have no effect here, each of which is logged. The
 * client would print the whole string, password and all, on the console.
 */
function effectiveOptions(connectionString: string, log: (message: string) => void): string {
  const [address = ''] = /^[^:]*:\/\/(?:[^:]+:[^@]+@)?[^?]*/.exec(connectionString) ?? [
    connectionString,
  ]
  const options = connectionString.slice(address.length + 1)
  if (options === '') return connectionString
  const kept = options.split('&').filter((option) => {
    const [key = ''] = option.split('=')
    if (KNOWN.has(flat(key)) || !option.includes('=')) return true
    log(`EventStoreDB: the option ${key} is ignored: ${LEFT_OUT[flat(key)] ?? 'it is not known'}`)
    return false
  })
  return kept.length === 0 ? address : `${address}?${kept.join('&')}`
}

/** The time limit of a call that the connection string names, in milliseconds. */
export function namedDeadline(connectionString: string): number | undefined {
  const [, named] = /[?&]default[_-]?deadline=(\d+)/i.exec(connectionString) ?? []
  return named === undefined ? undefined : Number(named)
}

/** A function that takes the password of a connection string out of any text. */
export function redactor(connectionString: string): (text: string) => string {
  const password = /^[^:]*:\/\/[^:@]*:([^@]*)@/.exec(connectionString)?.[1]
  const secrets = password === undefined ? [] : [password, decoded(password)]
  return (text) => {
    const known = secrets.reduce((rest, secret) => rest.replaceAll(secret || '\0', '***'), text)
    return known.replace(/(:\/\/[^:@/\s]{0,1000}:)[^@\s]{1,1000}@/g, '$1***@')
  }
}

/** The error with its message redacted. */
export const redacted = <E extends object>(error: E, redact: (text: string) => string): E => {
  return 'message' in error ? { ...error, message: redact(String(error.message)) } : error
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
