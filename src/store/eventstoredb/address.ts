import { createPrivateKey, X509Certificate } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { connect as connectPlain, type Socket } from 'node:net'
import { resolve } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { err, ok, Result } from 'neverthrow'
import { messageOf } from '../../lib/message-of.ts'

/** A connection string of EventStoreDB, or of KurrentDB, as EventStoreDB has been called since version 25. */
const CONNECTION_STRING = /^(?:esdb|kurrentdb)(\+discover)?:\/\//

type Host = { readonly name: string; readonly port: number }

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

/** How long one host may take to answer, milliseconds. */
const PROBE_MS = 2_000

/**
 * Tries each host of a connection string separately, and returns what is wrong with each that fails, and what to do.
 * The client reports every mistake as "Failed to discover after 10 attempts".
 */
export async function probeHosts(address: Address): Promise<readonly string[]> {
  const problems = await Promise.all(address.hosts.map((host) => problemOf(host, address)))
  return problems.filter((problem) => problem !== null)
}

async function problemOf(host: Host, address: Address): Promise<string | null> {
  const name = `${host.name}:${host.port}`
  try {
    await lookup(host.name.replace(/^\[|\]$/g, ''))
  } catch {
    return `${name}: the name ${host.name} does not resolve. Check its spelling, and the DNS of this machine.`
  }
  const failure = await attempt(host, address)
  return failure === null ? null : `${name}: ${explained(failure, address)}`
}

type Failure = { readonly code: string; readonly message: string }

/** Opens a connection as the client does; null if it opens. */
function attempt({ name, port }: Host, { tls, ca }: Address): Promise<Failure | null> {
  const host = name.replace(/^\[|\]$/g, '')
  return new Promise((resolve) => {
    const options = { host, port, ...(ca === null ? {} : { ca }), ALPNProtocols: ['h2'] }
    const isIp = /^[\d.]+$|:/.test(host)
    const socket: Socket = tls
      ? connectTls({ ...options, ...(isIp ? {} : { servername: host }) })
      : connectPlain({ host, port })
    const end = (failure: Failure | null): void => {
      socket.destroy()
      resolve(failure)
    }
    socket.once(tls ? 'secureConnect' : 'connect', () =>
      tls ? end(null) : speaksHttp2(socket, end),
    )
    socket.once('error', (cause: NodeJS.ErrnoException) =>
      end({ code: cause.code ?? '', message: cause.message }),
    )
    socket.setTimeout(PROBE_MS, () => end({ code: 'SILENT', message: 'no answer' }))
  })
}

/** The preface of HTTP/2 with empty settings: a server without TLS answers with its own settings. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1')

function speaksHttp2(socket: Socket, end: (failure: Failure | null) => void): void {
  socket.write(PREFACE)
  socket.once('data', (answer) => {
    const isSettings = answer[3] === 4
    end(isSettings ? null : { code: 'NOT_HTTP2', message: 'it does not speak HTTP/2' })
  })
  socket.once('close', () => end({ code: 'NOT_HTTP2', message: 'it closed the connection' }))
}

function explained({ code, message }: Failure, { tls, ca }: Address): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'nobody listens there. Start the node, or correct the port.'
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no route to it. Check the network.'
    case 'SILENT':
      return tls
        ? 'it accepts connections but does not answer. Check for a firewall; if the node runs without TLS, add tls=false.'
        : 'it accepts connections but does not answer. Check for a firewall; if the node runs with TLS, remove tls=false.'
    case 'NOT_HTTP2':
    case 'ECONNRESET':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return tls
        ? 'it does not speak TLS. If the node runs without TLS, add tls=false.'
        : 'it does not speak HTTP/2 without TLS. If the node runs with TLS, remove tls=false.'
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `its certificate is for other names (${message}). Use a name that the certificate holds, also in what the node advertises.`
    case 'CERT_HAS_EXPIRED':
      return 'its certificate has expired. Renew it.'
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return ca === null
        ? 'its certificate is signed by an authority that this machine does not know. Name the file of that authority with tlsCAFile.'
        : 'its certificate is not signed by the authority in tlsCAFile. Name the file of the authority that signed it.'
    default:
      return `${message}.`
  }
}
