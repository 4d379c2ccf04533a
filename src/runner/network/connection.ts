/** A connection that a command asked the proxy for, when it has ended or was refused, or one in the whole network. */
export type Connection = {
  /** As the command wrote it, or an address. */
  readonly host: string
  readonly port: number
  readonly allowed: boolean
  /** Why it was refused or failed, as a sentence for people; null if it ended by itself. */
  readonly reason: string | null
  /** From the host to the command; null if it is not known. */
  readonly bytes_in: number | null
  readonly bytes_out: number | null
  /** In the whole network. */
  readonly protocol?: 'tcp' | 'udp' | 'icmp'
  /** If more than one: the sum of connections that are not reported one by one. */
  readonly connections?: number
}

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
      ...{ host: ANY_HOST, port: 0, allowed },
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
