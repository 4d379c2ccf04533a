import { X509Certificate } from 'node:crypto'
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
  if (scheme === null) return err('it must begin with esdb:// or esdb+discover://')
  const rest = connectionString.slice(scheme[0].length)
  const [authority = '', options = ''] = splitOnce(rest, '?')
  const at = authority.lastIndexOf('@')
  const credentials = at === -1 ? null : authority.slice(0, at)
  if (credentials !== null && !isEncoded(credentials)) return err(UNENCODED)
  // After a question mark that is not encoded, the rest of a password looks like options.
  if (options.replace(FILE_OPTIONS, '').includes('@')) return err(UNENCODED)
  const tls = !/(?:^|&)tls=false(?:&|$)/i.test(options)
  const hosts = hostsOf(authority.slice(at + 1))
  if (hosts.some(({ name }) => name === '')) return err('it names no host')
  if (hosts.some(({ name }) => /^[^[]*:/.test(name))) return err('a port of it is not a number')
  return readAuthority(options).map((ca) => ({
    connectionString: `esdb${scheme[1] ?? ''}://${rest}`,
    hosts,
    tls,
    ca,
  }))
}

const UNENCODED =
  'the user name or the password is not encoded. Write %40 for @, %3A for :, %2F for /, %3F for ? and %25 for % in them'

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

/** The certificates that `tlsCAFile` names, once they can be read. */
function readAuthority(options: string): Result<string | null, string> {
  const named = /(?:^|&)tls_?-?ca_?-?file=([^&]*)/i.exec(options)?.[1]
  if (named === undefined) return ok(null)
  const file = resolve(named)
  return readFile(file)
    .mapErr((why) => `the file of tlsCAFile cannot be read: ${why}`)
    .andThen((text) =>
      parseCertificate(text)
        .map(() => text)
        .mapErr((why) => `${file} (tlsCAFile) holds no certificate in PEM form: ${why}`),
    )
}

const readFile = Result.fromThrowable((file: string) => readFileSync(file, 'utf8'), messageOf)
const parseCertificate = Result.fromThrowable((pem: string) => new X509Certificate(pem), messageOf)
