import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ResultAsync } from 'neverthrow'
import { type Problem, problemDocument } from '../api/problems.ts'
import type { buildApp } from '../http/app.ts'
import { createServer, STATUS_CODES } from '../lib/node-http.ts'
import type { Settings } from './settings.ts'
import { listenOnSocket } from './unix-socket.ts'

/** Begins to listen; resolves to the address. The error is a text for people, with advice. */
export function listen(
  app: Pick<Awaited<ReturnType<typeof buildApp>>, 'listen'>,
  { RETRAI_LISTEN: address }: Settings,
): ResultAsync<string, string> {
  if ('socket' in address) return new ResultAsync(listenOnSocket(app, address.socket))
  const { host, port } = address
  return ResultAsync.fromPromise(app.listen({ host, port }), (cause) =>
    listenProblem(cause, host, port, '--port'),
  )
}

/** @param flag names the setting that chooses the port */
function listenProblem(cause: unknown, host: string, port: number, flag: string): string {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is taken by another program. Stop it, or choose another port with ${flag} (0 finds a free one).`
  }
  if (code === 'EACCES') return `This user may not open port ${port}. Choose one above 1023.`
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return `This machine has no address ${host}. Choose one of its own with --host: 127.0.0.1 for this machine only, 0.0.0.0 or :: for all.`
  }
  return `Cannot listen on ${host}:${port}: ${message}`
}

const PATH = '/health/live'
/** Each request is answered at once, so nobody needs to hold a connection. */
const MAX_CONNECTIONS = 64
const REQUEST_MS = 5_000

/**
 * Answers `GET /health/live` on a socket of its own, for orchestrators, even while the thread that serves everything
 * else is stuck. Resolves to its address; the error is a text for people.
 * @param problem what is wrong now; null if nothing is
 */
export function listenForHealth(
  { host, port }: { readonly host: string; readonly port: number },
  problem: () => Problem | null,
): ResultAsync<string, string> {
  const server = createServer({ requestTimeout: REQUEST_MS }, ({ url = '' }, response) => {
    const wrong: Problem | null = url.split('?')[0] === PATH ? problem() : { code: 'not_found' }
    const document = wrong === null ? null : problemDocument(wrong, url)
    const status = document?.status ?? 200
    response
      .writeHead(status, STATUS_CODES[status], {
        'content-type': document === null ? 'application/json' : 'application/problem+json',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        connection: 'close',
      })
      .end(JSON.stringify(document ?? { status: 'ok' }))
  })
  server.maxConnections = MAX_CONNECTIONS
  server.unref()
  return ResultAsync.fromPromise(listening(server, host, port), (cause) =>
    listenProblem(cause, host, port, '--health-port'),
  )
}

function listening(server: Server, host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      const { port: taken } = server.address() as AddressInfo
      const name = host.includes(':') ? `[${host}]` : host
      resolve(`http://${name}:${taken}`)
    })
  })
}
