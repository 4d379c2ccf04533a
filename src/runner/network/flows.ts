import type { Connection } from './connection.ts'

/** A place that a flow leads to, before its protocol is known. */
type Pending = Pick<Connection, 'host' | 'port'>

const BEGUN = /Flow (\d+) \(INI\): TAP \[[^\]]*\]:\d+ -> \[([^\]]+)\]:(\d+) => \?/
const TYPED = /Flow (\d+) \((TCP|UDP|ICMP).*\): TGT -> TYPED/
const PROTOCOLS: Readonly<Record<string, Connection['protocol']>> = {
  ...({ TCP: 'tcp', UDP: 'udp', ICMP: 'icmp' } as const),
}
const ENDED = /Flow (\d+) \(FREE\)/

/**
 * Reads what pasta logs with `--debug`. All that leaves its namespace is a flow of pasta, and it logs the beginning of
 * each: a TCP connection, a pair of UDP ports, a ping. Names are not known to it.
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
      ...{ ...place, allowed: true, reason, bytes_in: null, bytes_out: null },
      ...(protocol === undefined ? {} : { protocol }),
    })
  }
}
