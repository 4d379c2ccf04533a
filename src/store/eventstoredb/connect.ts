import { setImmediate } from 'node:timers/promises'
import { EventStoreDBClient } from '@eventstore/db-client'
import { err, ok, type Result } from 'neverthrow'
import { BrokenInvariant } from '../../domain/errors.ts'
import type { StoreFailure } from '../event-store.ts'
import { clientMessageOf } from './calls.ts'

/**
 * Makes a client for an `esdb://` connection string. The client connects when it is first used.
 * @returns `store_failed` for a string, or a certificate file named in it, that cannot be used
 */
export function connect(
  connectionString: string,
  log: (message: string) => void,
): Result<EventStoreDBClient, StoreFailure> {
  try {
    const client = EventStoreDBClient.connectionString(effectiveOptions(connectionString, log))
    replaceMethods(client, log)
    return ok(client)
  } catch (cause) {
    return err(unusable(clientMessageOf(cause)))
  }
}

export const unusable = (why: string): StoreFailure => ({
  type: 'store_failed',
  message: `The connection string of EventStoreDB cannot be used: ${why}`,
})

/**
 * Replaces two methods of the client (6.2.1) that would end the whole process:
 *
 * - Batch appends share one table of unanswered appends between all connections. A lost connection rejects the appends
 *   of a healthy one, whose answers then throw where nothing can catch the error. `supports` returns false, so the
 *   client makes none. Ours are in batch-appends.ts.
 * - `handleError`, which replaces a failed connection, is never awaited: if it fails, the rejection is unhandled. And it
 *   closes the channel of an append that is just starting, with the same effect. So it waits until no append is
 *   starting.
 */
function replaceMethods(client: EventStoreDBClient, log: (message: string) => void): void {
  const handleError: unknown = Reflect.get(client, 'handleError')
  const isKnown = METHODS.every((name) => typeof Reflect.get(client, name) === 'function')
  if (typeof handleError !== 'function' || !isKnown) {
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

/** The protected methods of the client that are used or replaced. */
const METHODS = ['callArguments', 'getGRPCClient', 'handleError', 'supports']

/** The options that are passed to the client: those that it knows, except for `LEFT_OUT`. */
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

/** Why an option that the client knows is not passed to it. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  tlsverifycert: 'it has no effect in this client: name the authority with tlsCAFile',
  throwonappendfailure: 'a refused append is always reported',
}

const flat = (key: string): string => key.trim().toLowerCase().replace(/[_-]/g, '')

/**
 * The connection string without the options that have no effect here. Each of them is logged. The client would print
 * the whole string, with the password, on the console.
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

/** A function that removes the password of a connection string from any text. */
export function scrubber(connectionString: string): (text: string) => string {
  // Up to the last @ before the options: one that is not encoded belongs to the password.
  const password = /^[^:]*:\/\/[^:@]*:([^?]*)@/.exec(connectionString)?.[1]
  const secrets = password === undefined ? [] : [password, decoded(password)]
  return (text) => {
    const known = secrets.reduce((rest, secret) => rest.replaceAll(secret || '\0', '***'), text)
    return known.replace(/(:\/\/[^:@/\s]{0,1000}:)[^@\s]{1,1000}@/g, '$1***@')
  }
}

/** The error with its message scrubbed. */
export const scrubbed = <E extends object>(error: E, scrub: (text: string) => string): E => {
  return 'message' in error ? { ...error, message: scrub(String(error.message)) } : error
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The variables that gRPC reads, in its order. */
const PROXIES = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const

/**
 * The variable that sends the connections to these hosts through a proxy; null if they are direct. gRPC reads these
 * variables by itself, in lower case only, and compares names as the ends of host names.
 */
export function proxyVariable(
  hosts: readonly { readonly name: string }[],
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  const variable = PROXIES.find((name) => (env[name] ?? '') !== '')
  if (variable === undefined) return null
  const direct = (env.no_grpc_proxy || env.no_proxy || '').split(',').filter((name) => name !== '')
  const isDirect = hosts.every(({ name }) => direct.some((end) => name.endsWith(end)))
  return isDirect ? null : variable
}

let isSilent = false

/**
 * Keeps Node from printing DEP0123 for each process: gRPC names the host of a certificate also if that is an IP address,
 * which Node ignores. Nobody who runs a server can change that.
 */
export function silenceServername(): void {
  if (isSilent) return
  isSilent = true
  const emit: unknown = process.emitWarning.bind(process)
  process.emitWarning = (...args: unknown[]): void => {
    if (args[2] !== 'DEP0123' && typeof emit === 'function') Reflect.apply(emit, process, args)
  }
}
