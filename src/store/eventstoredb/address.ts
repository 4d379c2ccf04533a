import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { err, ok, Result } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'

/** A connection string of EventStoreDB, or of KurrentDB, as EventStoreDB has been called since version 25. */
const CONNECTION_STRING = /^(?:esdb|kurrentdb)(\+discover)?:\/\//

export type Host = { readonly name: string; readonly port: number }

/** What a connection string says about where its servers are and how to reach them. */
export type Address = {
  /** The same string as the client reads it. */
  readonly connectionString: string
  /** With `+discover` or several hosts, these only name the nodes of a cluster. */
  readonly hosts: readonly Host[]
  readonly tls: boolean
  /** The certificates of the authority that the servers' certificates must be signed by; null is those of Node. */
  readonly ca: string | null
}

const DEFAULT_PORT = 2113

/** Reads a connection string. The error is a sentence for people, which holds no part of the password. */
export function readAddress(connectionString: string): Result<Address, string> {
  const scheme = CONNECTION_STRING.exec(connectionString)
  if (scheme === null) return err(SCHEMES)
  const rest = connectionString.slice(scheme[0].length)
  const [authority = '', options = ''] = splitOnce(rest, '?')
  const at = authority.lastIndexOf('@')
  const credentials = at === -1 ? null : authority.slice(0, at)
  if (credentials !== null && /^[^:]*$/.test(credentials)) return err(NO_PASSWORD)
  if (credentials !== null && !isEncoded(credentials)) return err(UNENCODED)
  // After a question mark that is not encoded, the rest of a password looks like options.
  if (options.replace(FILE_OPTIONS, '').includes('@')) return err(UNENCODED)
  const tls = !/(?:^|&)tls=false(?:&|$)/i.test(options)
  const hosts = hostsOf(authority.slice(at + 1))
  if (hosts.some(({ name }) => name === '')) return err('it names no host')
  if (hosts.some(({ name }) => /^[^[]*:/.test(name))) return err('a port of it is not a number')
  return readFiles(options, tls).map((ca) => ({
    connectionString: `esdb${scheme[1] ?? ''}://${rest}`,
    hosts,
    tls,
    ca,
  }))
}

const SCHEMES =
  'it must begin with esdb://, esdb+discover://, kurrentdb:// or kurrentdb+discover://'

const UNENCODED =
  'the user name or the password is not encoded. Write %40 for @, %3A for :, %2F for /, %3F for ? and %25 for % in them'

const NO_PASSWORD = 'it names a user without a password. Write user:password@ before the host'

const isEncoded = (credentials: string): boolean =>
  /^[^@:/]+:[^@:/]*$/.test(credentials) && !/%(?![0-9a-f]{2})/i.test(credentials)

/** A path may hold an @. */
const FILE_OPTIONS = /(?:tls_?-?ca|user_?-?cert|user_?-?key)_?-?file=[^&]*/gi

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

/** The certificates that `tlsCAFile` names, once all files that the options name can be used. */
function readFiles(options: string, tls: boolean): Result<string | null, string> {
  const read = (option: keyof typeof FORMS): Result<string | null, string> => {
    const name = new RegExp(`(?:^|&)${FORMS[option].pattern}=([^&]*)`, 'i').exec(options)?.[1]
    return name === undefined ? ok(null) : readPem(resolve(name), option)
  }
  if (!tls) return read('tlsCAFile')
  return Result.combine([read('tlsCAFile'), read('userCertFile'), read('userKeyFile')]).map(
    ([authority = null]) => authority,
  )
}

const parseCertificate = Result.fromThrowable(
  (pem: string): unknown => new X509Certificate(pem),
  messageOf,
)
const parseKey = Result.fromThrowable((pem: string): unknown => createPrivateKey(pem), messageOf)

/** The options that name a file: how they may be written, and what the file holds. */
const FORMS = {
  tlsCAFile: { pattern: 'tls_?-?ca_?-?file', holds: 'certificate', parse: parseCertificate },
  userCertFile: { pattern: 'user_?-?cert_?-?file', holds: 'certificate', parse: parseCertificate },
  userKeyFile: { pattern: 'user_?-?key_?-?file', holds: 'private key', parse: parseKey },
} as const

function readPem(file: string, option: keyof typeof FORMS): Result<string, string> {
  const { holds, parse } = FORMS[option]
  return readFile(file)
    .mapErr((why) => `the file of ${option} cannot be read: ${why}`)
    .andThen((text) =>
      parse(text)
        .map(() => text)
        .mapErr((why) => `${file} (${option}) holds no ${holds} in PEM form: ${why}`),
    )
}

const readFile = Result.fromThrowable((file: string) => readFileSync(file, 'utf8'), messageOf)
