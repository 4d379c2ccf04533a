import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import type { Adapter } from '../../../../src/agent/model/adapter.ts'
import { createComplete } from '../../../../src/agent/model/complete.ts'
import type { ModelPart, ModelRequest } from '../../../../src/agent/model/model.ts'
import type { Route } from '../../../../src/agent/model/routing.ts'
import { REQUEST, streamOf } from './support.ts'

/** Asks an adapter once. */
export async function askBy(adapter: Adapter, route: Route, request: ModelRequest = REQUEST) {
  const parts: ModelPart[] = []
  const complete = createComplete({
    routeOf: async () => route,
    keys: [],
    deadlines: { totalMs: 60_000, firstMs: 60_000, silenceMs: 60_000 },
    adapterOf: async () => adapter,
  })
  const reply = await complete(request, new AbortController().signal, (part) => parts.push(part))
  return { reply, parts }
}

/** Reads a response that comes in these pieces. */
export const readBy = (adapter: Adapter, route: Route, pieces: readonly Uint8Array[]) =>
  askBy({ ...adapter, send: async () => streamOf(pieces) }, route)

export type Answer = { readonly status: number; readonly text: string }

/** A provider that answers each request by a function of its body, and is closed after the test. */
export async function fakeServer(answer: (body: never, request: IncomingMessage) => Answer) {
  const server = createServer(async (request, response) => {
    const chunks: Uint8Array[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    const { status, text } = answer(body as never, request)
    response.writeHead(status, { 'content-type': 'text/event-stream' }).end(text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
