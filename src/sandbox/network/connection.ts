import { BlockList, isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { present } from '../../domain/present.ts'
import type { PayloadOf } from '../../domain/records.ts'
import { words } from '../../lib/text.ts'

/** A connection that a command asked the proxy for, when it has ended or was refused, or one in the whole network. */
export type Connection = Omit<PayloadOf<'network_connection'>, 'call_id'>

/** Connections of one command that are reported one by one, so that a loop does not fill the log. */
const REPORTED = 200
/** In place of the host of connections that are summed up. */
export const ANY_HOST = '*'

const added = (sum: number, bytes: number | null): number | null =>
  bytes === null ? null : sum + bytes

/** Reports the first connections of a command as they end, and the others as one sum at its end. */
export class ConnectionReport {
  readonly #report: (connection: Connection) => void
  #count = 0
  readonly #rest = new Map<boolean, Connection>()

  constructor(report: (connection: Connection) => void) {
    this.#report = report
  }

  add(connection: Connection): void {
    this.#count += 1
    if (this.#count <= REPORTED) {
      this.#report(connection)
      return
    }
    const { allowed } = connection
    const sum = this.#rest.get(allowed)
    this.#rest.set(allowed, {
      host: ANY_HOST,
      port: 0,
      allowed,
      reason: `More than ${REPORTED} connections of one command are not recorded one by one`,
      bytes_in: added(sum?.bytes_in ?? 0, connection.bytes_in),
      bytes_out: added(sum?.bytes_out ?? 0, connection.bytes_out),
      connections: (sum?.connections ?? 0) + 1,
    })
  }

  end(): void {
    for (const sum of this.#rest.values()) this.#report(sum)
    this.#rest.clear()
  }
}

/** A place that a flow leads to, before its protocol is known. */
type Pending = Pick<Connection, 'host' | 'port'>

const BEGUN = /Flow (\d+) \(INI\): TAP \[[^\]]*\]:\d+ -> \[([^\]]+)\]:(\d+) => \?/
const TYPED = /Flow (\d+) \((TCP|UDP|ICMP).*\): TGT -> TYPED/
const PROTOCOLS: Readonly<Record<string, Connection['protocol']>> = {
  TCP: 'tcp',
  UDP: 'udp',
  ICMP: 'icmp',
}
const ENDED = /Flow (\d+) \(FREE\)/

/**
 * Reads what pasta logs with `--debug`. All that leaves its namespace is a flow of pasta, and it logs the beginning of
 * each: a TCP connection, a pair of UDP ports, a ping. It does not know names.
 */
export class FlowReader {
  readonly #onConnection: (connection: Connection) => void
  readonly #pending = new Map<string, Pending>()
  #rest = ''
  /** The last line, without its time: why pasta ended, if it did. */
  lastLine = ''

  constructor(onConnection: (connection: Connection) => void) {
    this.#onConnection = onConnection
  }

  read(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#take(line)
  }

  #take(line: string): void {
    if (line !== '') this.lastLine = line.replace(/^\d+\.\d+: /, '')
    const [, begun, host = '', port] = BEGUN.exec(line) ?? []
    if (begun !== undefined) this.#pending.set(begun, { host, port: Number(port) })
    const [, typed = '', type = ''] = TYPED.exec(line) ?? []
    this.#report(typed, null, PROTOCOLS[type])
    const [, ended = ''] = ENDED.exec(line) ?? []
    this.#report(ended, 'It could not be made')
  }

  #report(flow: string, reason: string | null, protocol?: Connection['protocol']): void {
    const place = this.#pending.get(flow)
    if (place === undefined) return
    this.#pending.delete(flow)
    this.#onConnection({
      ...place,
      allowed: true,
      reason,
      bytes_in: null,
      bytes_out: null,
      ...present({ protocol }),
    })
  }
}

/** IPv4 networks that are not part of the public Internet (RFC 6890 and its updates). */
const NOT_PUBLIC = words(`
  0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
  192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
  224.0.0.0/4 240.0.0.0/4
`)
/** All public IPv6 addresses are in this network. */
const PUBLIC_6 = ['2000::', 3] as const
/** Parts of that network that are for documentation, or lead to an IPv4 address that is not checked. */
const NOT_PUBLIC_6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

const blocked = new BlockList()
for (const network of [...NOT_PUBLIC, ...NOT_PUBLIC_6]) {
  const [address = '', prefix] = network.split('/')
  blocked.addSubnet(address, Number(prefix), isIP(address) === 4 ? 'ipv4' : 'ipv6')
}
const public6 = new BlockList()
public6.addSubnet(...PUBLIC_6, 'ipv6')

/** Whether an IP address is on the public Internet and not one of this machine, on which the server listens. */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address)
  if (version === 0 || ownAddresses().has(address)) return false
  return version === 4
    ? !blocked.check(address, 'ipv4')
    : public6.check(address, 'ipv6') && !blocked.check(address, 'ipv6')
}

/** The addresses of this machine now. */
export const ownAddresses = (): ReadonlySet<string> =>
  new Set(
    Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)),
  )
