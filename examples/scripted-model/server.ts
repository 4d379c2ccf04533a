/**
 * A stand-in for a language model: a real HTTP server that speaks the OpenAI chat completions protocol
 * and answers from a script. It understands nothing. Tests, demo and bench use it where a model
 * would cost money and never answer the same way twice.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { fail, problem, send, stream } from './answers.ts'
import { completionOf, eventsOf } from './completion.ts'
import { readRequest } from './request.ts'
import { isFault, player, type Script, type ScriptedRequest } from './script.ts'

export type ScriptedModel = {
  /** Base URL for OpenAI-compatible clients; ends in `/v1`. */
  readonly url: string
  /** Every completion that was asked for, in order. */
  readonly requests: readonly ScriptedRequest[]
  /** Breaks all connections and frees the port. */
  readonly close: () => Promise<void>
}

/**
 * Starts a scripted model on the loopback interface.
 * @param options.port 0, a free one, unless given
 * @param options.record whether to keep the requests; default true
 */
export async function startScriptedModel(options: {
  readonly script: Script
  readonly port?: number
  readonly record?: boolean
}): Promise<ScriptedModel> {
  const { script, port = 0, record = true } = options
  const requests: ScriptedRequest[] = []
  const play = player(script)
  const closing = new AbortController()

  const complete = async (incoming: IncomingMessage, response: ServerResponse) => {
    const request = readRequest(await text(incoming), incoming.headers)
    if (record) requests.push(request)
    const answer = await play(request)
    if (isFault(answer)) return fail(response, answer, request.stream)
    if (answer.delayMs) await delay(answer.delayMs, undefined, { signal: closing.signal })
    const completion = completionOf(answer, request)
    if (request.stream) await stream(response, eventsOf(completion), answer)
    else send(response, 200, JSON.stringify(completion))
  }

  const server = createServer((incoming, response) => {
    const { method = '', url = '' } = incoming
    const call = `${method} ${url.split('?')[0]}`
    if (call === 'GET /v1/models') return send(response, 200, MODELS)
    if (call !== 'POST /v1/chat/completions') return send(response, 404, problem(`no ${call} here`))
    complete(incoming, response).catch((error: unknown) => {
      if (!response.headersSent) send(response, 400, problem(String(error)))
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')

  return {
    url: `http://127.0.0.1:${portOf(server.address())}/v1`,
    requests,
    close: async () => {
      closing.abort()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const MODELS = JSON.stringify({
  object: 'list',
  data: [{ id: 'scripted-model', object: 'model', created: 0, owned_by: 'examples' }],
})

function portOf(address: ReturnType<Server['address']>): number {
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  return address.port
}
