import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type CuttingProxy = {
  readonly url: string
  /** How many connections were opened. */
  readonly connections: number
  /** Breaks all connections that are open now. */
  cut(): void
  stop(): Promise<void>
}

/**
 * A network that fails: it passes bytes on to `port`, and breaks each connection once the server has
 * sent as many as `allowance` says for it. The bytes up to there still arrive.
 */
export async function startCuttingProxy(
  port: number,
  allowance: () => number = () => Number.POSITIVE_INFINITY,
): Promise<CuttingProxy> {
  const open = new Set<Socket>()
  let connections = 0
  const server = createServer((client) => {
    connections += 1
    const upstream = connect(port, '127.0.0.1')
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    let left = allowance()
    // A compressed answer would be shorter than what it holds.
    client.on('data', (chunk: Buffer) => {
      upstream.write(chunk.toString('latin1').replace(/^accept-encoding:.*\r\n/im, ''), 'latin1')
    })
    client.on('end', () => upstream.end())
    upstream.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, left)
      left -= part.length
      if (!client.write(part)) {
        upstream.pause()
        client.once('drain', () => upstream.resume())
      }
      if (left > 0) return
      upstream.destroy()
      client.destroySoon()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of open) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections
    },
    cut,
    async stop() {
      const closed = once(server, 'close')
      server.close()
      cut()
      await closed
    },
  }
}
