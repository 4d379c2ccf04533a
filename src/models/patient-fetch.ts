import { Agent as HttpAgent, request as overHttp, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as overHttps } from 'node:https'
import { pipeline, Readable, Transform } from 'node:stream'

/** The most bytes of an error. A client reads it as a whole. */
const MAX_ERROR_BYTES = 1024 * 1024

/** Statuses whose responses have no body. */
const BODILESS = new Set([204, 205, 304])

type Options = Pick<RequestOptions, 'lookup'> & {
  /** What makes the connections for a protocol, such as `https:`; Node's own if it is left out. */
  readonly agentOf?: (protocol: string) => HttpAgent
  /** False if no more bytes may come: then the response fails. */
  readonly accepts?: (bytes: number) => boolean
}

/**
 * A `fetch` for SDKs, without the limit of 5 minutes that Node's own has for the first byte and between bytes: a model may
 * think longer. It sends only text and bytes, and follows no redirect.
 */
export const fetchWith =
  ({ lookup, accepts, agentOf }: Options): typeof fetch =>
  (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input)
    const { method = 'GET', body, signal } = init
    const headers = Object.fromEntries(new Headers(init.headers))
    const send = url.protocol === 'http:' ? overHttp : overHttps
    return new Promise((resolve, reject) => {
      const outgoing = send(url, {
        method,
        headers: { ...headers, 'accept-encoding': 'identity' },
        ...(signal ? { signal } : {}),
        ...(lookup === undefined ? {} : { lookup }),
        ...(agentOf === undefined ? {} : { agent: agentOf(url.protocol) }),
      })
      outgoing.on('error', reject)
      // Without this, nothing ever ends the request, not even its signal.
      outgoing.on('upgrade', (_, socket) => {
        socket.destroy()
        reject(new Error('The status of the answer is 101'))
      })
      outgoing.on('response', (incoming) => {
        const { statusCode: status = 0, headersDistinct } = incoming
        // A `Response` takes no other, and what throws here ends the server.
        if (status < 200 || status > 599) {
          incoming.destroy()
          return reject(new Error(`The status of the answer is ${status}`))
        }
        const received = new Headers()
        for (const [name, values = []] of Object.entries(headersDistinct)) {
          for (const value of values) received.append(name, value)
        }
        const limit = accepts ?? (status >= 400 ? upTo(MAX_ERROR_BYTES) : undefined)
        // Either stream ends with the other, so a response that fails keeps no connection.
        const whole = limit === undefined ? incoming : pipeline(incoming, bounded(limit), () => {})
        const content = BODILESS.has(status) ? null : (Readable.toWeb(whole) as ReadableStream)
        resolve(new Response(content, { status, headers: received }))
      })
      const isSent = typeof body === 'string' || body instanceof Uint8Array
      outgoing.end(isSent ? body : undefined)
    })
  }

/** The variables that name proxies. The first of two that is set counts, as for curl. */
export const PROXY_VARIABLES = ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'] as const

/** Agents that use the proxies of an environment, except for this machine itself. */
export function proxyAgents(env: NodeJS.ProcessEnv): (protocol: string) => HttpAgent {
  const except = [env.no_proxy ?? env.NO_PROXY ?? '', 'localhost', '127.0.0.1', '::1', '[::1]']
  const no_proxy = except.filter(Boolean).join(',')
  const { https_proxy = env.HTTPS_PROXY, http_proxy = env.HTTP_PROXY } = env
  const proxies = { https_proxy, http_proxy, no_proxy }
  const options = { keepAlive: true, proxyEnv: proxies as NodeJS.ProcessEnv }
  const plain = new HttpAgent(options)
  const secure = new HttpsAgent(options)
  return (protocol) => (protocol === 'http:' ? plain : secure)
}

/** The environment does not change while a server runs. */
const agentOf = proxyAgents(process.env)

export const patientFetch = fetchWith({ agentOf })

/** The same; a response that is longer fails. */
export const fetchUpTo =
  (maxBytes: number): typeof fetch =>
  (input, init) =>
    fetchWith({ agentOf, accepts: upTo(maxBytes) })(input, init)

/** Accepts so many bytes of one response. */
export function upTo(maxBytes: number): (bytes: number) => boolean {
  let total = 0
  return (bytes) => {
    total += bytes
    return total <= maxBytes
  }
}

/** Fails when more comes than is accepted. */
const bounded = (accepts: (bytes: number) => boolean): Transform =>
  new Transform({
    transform: (chunk: Buffer, _, done) =>
      accepts(chunk.length) ? done(null, chunk) : done(new Error('The response is too long')),
  })
