import { lookup } from 'node:dns/promises'
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Address, Host } from './address.ts'

/** How long one host may take to answer, milliseconds. */
const PROBE_MS = 2_000

/**
 * Tries each host of a connection string by itself, and returns for each that fails what is wrong and what to do. The
 * client reports every mistake as "Failed to discover after 10 attempts".
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
        ? 'it takes connections but does not answer. Check for a firewall; if the node runs without TLS, add tls=false.'
        : 'it takes connections but does not answer. Check for a firewall; if the node runs with TLS, remove tls=false.'
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
