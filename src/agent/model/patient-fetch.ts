import { request as overHttp, type RequestOptions } from 'node:http'
import { request as overHttps } from 'node:https'
import { pipeline, Readable, Transform } from 'node:stream'

/** The most bytes of an error. A client reads it as a whole. */
const MAX_ERROR_BYTES = 1024 * 1024

/** Statuses whose responses have no body. */
const BODILESS = new Set([204, 205, 304])

type Options = Pick<RequestOptions, 'lookup'> & {
  /** False if no more bytes may come: then the response fails. */
  readonly accepts?: (bytes: number) => boolean
}

/**
 * A `fetch` for SDKs, without the limit of 5 minutes that Node's own has for the first byte and between bytes: a model may
 * think longer. It sends only text, and follows no redirect.
 */
export const fetchWith =
  ({ lookup, accepts }: Options): typeof fetch =>
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
      })
      outgoing.on('error', reject)
      outgoing.on('response', (incoming) => {
        const { statusCode: status = 0, headersDistinct } = incoming
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
      outgoing.end(typeof body === 'string' ? body : undefined)
    })
  }

export const patientFetch = fetchWith({})

function upTo(maxBytes: number): (bytes: number) => boolean {
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
