import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { isAtLeast, until } from '../support/site.ts'

export type Delivery = {
  readonly headers: IncomingMessage['headers']
  readonly id: string
  readonly body: string
  readonly type: string
  readonly data: {
    readonly run_id: string
    readonly seq: number
    readonly hash: string
    readonly status: string
  }
}

type Answer = number | { readonly status: number; readonly location: string }

/** Receives deliveries over HTTP until the test ends. */
export async function startReceiver(
  answer: (delivery: Delivery) => Answer | Promise<Answer> = () => 204,
) {
  const all: Delivery[] = []
  const taken: Delivery[] = []
  const listen = async (port: number) => {
    const server = createServer(async (request, response) => {
      const body = await text(request)
      const delivery = { ...JSON.parse(body), body, headers: request.headers }
      delivery.id = String(request.headers['webhook-id'])
      all.push(delivery)
      const given = await receiver.answer(delivery)
      const { status, location } = typeof given === 'number' ? { status: given } : given
      if (status < 300) taken.push(delivery)
      response
        .writeHead(status, location === undefined ? {} : { location })
        .end(status === 204 ? '' : 'Noted')
    })
    await once(server.listen(port, '127.0.0.1'), 'listening')
    return server
  }
  let server = await listen(0)
  const { port } = server.address() as AddressInfo
  const close = async () => {
    server.closeAllConnections()
    server.close()
  }
  onTestFinished(close)
  const receiver = {
    url: `http://127.0.0.1:${port}/hook?key=a-secret-of-the-address`,
    port,
    answer,
    /** All that came, and what was answered with 2xx, in their order. */
    all,
    taken,
    close,
    reopen: async () => {
      server = await listen(port)
    },
    untilTaken: (count: number) => until(() => taken.length, isAtLeast(count)),
  }
  return receiver
}
export type Receiver = Awaited<ReturnType<typeof startReceiver>>

/** Deliveries by run, each as its seq. */
export function seqsByRun(deliveries: readonly Delivery[]): Map<string, number[]> {
  const runs = [...Map.groupBy(deliveries, ({ data }) => data.run_id)]
  return new Map(runs.map(([runId, all]) => [runId, all.map(({ data }) => data.seq)]))
}
