import { request as overHttp } from 'node:http'
import { request as overHttps } from 'node:https'
import { Readable } from 'node:stream'

/** Statuses whose responses have no body. */
const BODILESS = new Set([204, 205, 304])

/**
 * A `fetch` for the SDKs of providers, without the limit of 5 minutes that Node's own has for the first byte and between
 * bytes: a model may think longer. It sends only text, and follows no redirect.
 */
export const patientFetch: typeof fetch = (input, init = {}) => {
  const url = new URL(input instanceof Request ? input.url : input)
  const { method = 'GET', body, signal } = init
  const headers = Object.fromEntries(new Headers(init.headers))
  const send = url.protocol === 'http:' ? overHttp : overHttps
  return new Promise((resolve, reject) => {
    const outgoing = send(url, {
      method,
      headers: { ...headers, 'accept-encoding': 'identity' },
      ...(signal ? { signal } : {}),
    })
    outgoing.on('error', reject)
    outgoing.on('response', (incoming) => {
      const { statusCode: status = 0, headersDistinct } = incoming
      const received = new Headers()
      for (const [name, values = []] of Object.entries(headersDistinct)) {
        for (const value of values) received.append(name, value)
      }
      const content = BODILESS.has(status) ? null : (Readable.toWeb(incoming) as ReadableStream)
      resolve(new Response(content, { status, headers: received }))
    })
    outgoing.end(typeof body === 'string' ? body : undefined)
  })
}
