import { readFileSync } from 'node:fs'
import { connect as connectPlain, isIP } from 'node:net'
import { resolve } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { err, ok, Result } from 'neverthrow'
import { codeOf, messageOf } from '../../lib/message-of.ts'
import type { StoreFailure } from '../event-store.ts'

/** Of EventStoreDB, or of KurrentDB, as EventStoreDB has been called since version 25. */
const SCHEME = /^(?:esdb|kurrentdb)(\+discover)?:\/\//

/** Whether a text is meant as a connection string. */
export const isConnectionString = (text: string): boolean =>
  /^(?:esdb|kurrentdb)(?:\+discover)?:/.test(text)

type Host = { readonly name: string; readonly port: number }

/** An option: its name as the client compares it, and both parts as they are written. */
type Option = { readonly key: string; readonly name: string; readonly value: string | null }

/** What a connection string says about where its servers are and how to reach them. */
export type Address = {
  /** The string without its options, as the client reads it. */
  readonly base: string
  /** With `+discover` or several hosts, these only name the nodes of a cluster. */
  readonly hosts: readonly Host[]
  readonly options: readonly Option[]
  readonly tls: boolean
  /** The certificates of the authority that the servers' certificates must be signed by; null is those of Node. */
  readonly ca: string | null
}

const DEFAULT_PORT = 2113

/** Reads a connection string. The error is a sentence for people, which holds no part of the password. */
export function readConnectionString(text: string): Result<Address, string> {
  const scheme = SCHEME.exec(text)
  if (scheme === null) return err(SCHEMES)
  const [authority, query] = splitOnce(text.slice(scheme[0].length), '?')
  const at = authority.lastIndexOf('@')
  const credentials = at === -1 ? null : authority.slice(0, at)
  if (credentials !== null && /^[^:]*$/.test(credentials)) return err(NO_PASSWORD)
  if (credentials !== null && !isEncoded(credentials)) return err(UNENCODED)
  const options = optionsOf(query)
  // After a question mark that is not encoded, the rest of a password looks like options. A path may hold an @.
  const isPassword = ({ key, name, value }: Option) =>
    name.includes('@') || (!(key in FILES) && value?.includes('@') === true)
  if (options.some(isPassword)) return err(UNENCODED)
  const hosts = hostsOf(authority.slice(at + 1))
  if (hosts.some(({ name }) => name === '')) return err('it names no host')
  if (hosts.some(({ name }) => /^[^[]*:/.test(name))) return err('a port of it is not a number')
  const tls = optionOf(options, 'tls')?.toLowerCase() !== 'false'
  return readFiles(options, tls).map((ca) => ({
    ...{ hosts, options, tls, ca },
    base: `esdb${scheme[1] ?? ''}://${authority}`,
  }))
}

/** @param key without underscores, hyphens and capital letters */
export const optionOf = (options: readonly Option[], key: string): string | null =>
  options.find((option) => option.key === key)?.value ?? null

const optionsOf = (query: string): Option[] =>
  (query === '' ? [] : query.split('&')).map((text) => {
    const [name, value] = splitOnce(text, '=')
    const key = name.trim().toLowerCase().replace(/[_-]/g, '')
    return { key, name, value: text.includes('=') ? value : null }
  })

const SCHEMES =
  'it must begin with esdb://, esdb+discover://, kurrentdb:// or kurrentdb+discover://'

const UNENCODED =
  'the user name or the password is not encoded. Write %40 for @, %3A for :, %2F for /, %3F for ? and %25 for % in them'

const NO_PASSWORD = 'it names a user without a password. Write user:password@ before the host'

const isEncoded = (credentials: string): boolean =>
  /^[^@:/]+:[^@:/]*$/.test(credentials) && !/%(?![0-9a-f]{2})/i.test(credentials)

/** The text before and after the first separator. */
function splitOnce(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator)
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function hostsOf(list: string): Host[] {
  return list
    .replace(/\/+$/, '')
    .split(',')
    .map((host) => {
      const [, name = host, port] = /^(.*?)(?::(\d+))?$/.exec(host) ?? []
      return { name, port: port === undefined ? DEFAULT_PORT : Number(port) }
    })
}

/** The options that name a file. */
const FILES = { tlscafile: 'tlsCAFile', usercertfile: 'userCertFile', userkeyfile: 'userKeyFile' }

/** The certificates that `tlsCAFile` names, once all files that the options name can be read. */
function readFiles(options: readonly Option[], tls: boolean): Result<string | null, string> {
  const read = (key: keyof typeof FILES): Result<string | null, string> => {
    const file = optionOf(options, key)
    if (file === null) return ok(null)
    return readFile(resolve(file)).mapErr(
      (why) => `the file of ${FILES[key]} cannot be read: ${why}`,
    )
  }
  if (!tls) return read('tlscafile')
  return Result.combine([read('tlscafile'), read('usercertfile'), read('userkeyfile')]).map(
    ([authority = null]) => authority,
  )
}

const readFile = Result.fromThrowable((file: string) => readFileSync(file, 'utf8'), messageOf)

/** A function that removes the password of a connection string from any text, also of one that is not valid. */
export function scrubber(connectionString: string): (text: string) => string {
  // Up to the last @ before the options: one that is not encoded belongs to the password.
  const password = /^[^:]*:\/\/[^:@]*:([^?]*)@/.exec(connectionString)?.[1]
  const secrets = password === undefined ? [] : [password, decoded(password)]
  return (text) => {
    const known = secrets.reduce((rest, secret) => rest.replaceAll(secret || '\0', '***'), text)
    return known.replace(/(:\/\/[^:@/\s]{0,1000}:)[^@\s]{1,1000}@/g, '$1***@')
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The error with its message scrubbed. */
export const scrubbed = <E extends object>(error: E, scrub: (text: string) => string): E => {
  return 'message' in error ? { ...error, message: scrub(String(error.message)) } : error
}

export const unusable = (why: string): StoreFailure => ({
  type: 'store_failed',
  message: `The connection string of EventStoreDB cannot be used: ${why}`,
})

/** How long one host may take to answer, milliseconds. */
const PROBE_MS = 2_000

/**
 * Tries each host of a connection string separately, and returns what is wrong with each that fails. The client reports
 * every mistake as "Failed to discover after 10 attempts".
 */
export async function probeHosts(address: Address): Promise<readonly string[]> {
  const problems = await Promise.all(address.hosts.map((host) => problemOf(host, address)))
  return problems.filter((problem) => problem !== null)
}

const TLS_ADVICE =
  'With TLS, the certificate of a node must be for this name, and signed by an authority of Node or of tlsCAFile. If the node runs without TLS, add tls=false.'

/** What keeps a connection from opening, as the client opens it; null if it opens. */
function problemOf({ name, port }: Host, { tls, ca }: Address): Promise<string | null> {
  const host = name.replace(/^\[|\]$/g, '')
  const named = isIP(host) === 0 ? { servername: host } : {}
  const secure = { ...named, ...(ca === null ? {} : { ca }), ALPNProtocols: ['h2'] }
  const socket = tls ? connectTls({ host, port, ...secure }) : connectPlain({ host, port })
  return new Promise((resolve) => {
    const end = (problem: string | null): void => {
      socket.destroy()
      resolve(
        problem === null ? null : `${name}:${port}: ${problem}.${tls ? ` ${TLS_ADVICE}` : ''}`,
      )
    }
    socket.once(tls ? 'secureConnect' : 'connect', () => end(null))
    // The error of a name with several addresses has a code and no message.
    socket.once('error', (cause) => end(messageOf(cause) || String(codeOf(cause))))
    socket.setTimeout(PROBE_MS, () => end('it does not answer'))
  })
}
