/** A connection that a command asked the proxy for, when it has ended or was refused. */
export type Connection = {
  /** As the command wrote it. */
  readonly host: string
  readonly port: number
  readonly allowed: boolean
  /** Why it was refused or failed, as a sentence for people; null if it ended by itself. */
  readonly reason: string | null
  /** From the host to the command. */
  readonly bytes_in: number
  readonly bytes_out: number
  /** If more than one: the sum of connections that are not reported one by one. */
  readonly connections?: number
}

/** Connections of one command that are reported one by one, so that a loop does not fill the log. */
const REPORTED = 200
/** In place of the host of connections that are summed up. */
const ANY_HOST = '*'

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
      bytes_in: (sum?.bytes_in ?? 0) + connection.bytes_in,
      bytes_out: (sum?.bytes_out ?? 0) + connection.bytes_out,
      connections: (sum?.connections ?? 0) + 1,
    })
  }

  end(): void {
    for (const sum of this.#rest.values()) this.#report(sum)
    this.#rest.clear()
  }
}
