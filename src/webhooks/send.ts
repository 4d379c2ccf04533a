import { createHmac, randomBytes } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { TestedWebhook } from '../api/webhooks.ts'
import { codeOf, messageOf } from '../lib/message-of.ts'
import { sha256 } from '../lib/sha256.ts'
import { fetchWith, upTo } from '../models/patient-fetch.ts'
import { isPrivateHost, publicOnly } from '../sandbox/network/public-only.ts'

const PREFIX = 'whsec_'
const SECRET_BYTES = 32
/** A receiver must answer within this time. */
const WITHIN_MS = 15_000
/** The most that is read of an answer, and that a test shows of it. */
const ANSWER_BYTES = 64 * 1024
const ANSWER_CHARS = 500

export const newSecret = (): string => PREFIX + randomBytes(SECRET_BYTES).toString('base64')

/** Where a webhook delivers to, and the secret that signs it. */
export type Endpoint = { readonly url: string; readonly secret: string }

/** The same at every try, so that a receiver recognizes what it has already received. */
export const messageId = (...parts: readonly (string | number)[]): string =>
  `msg_${sha256(parts.join(' ')).slice(0, 32)}`

const ADVICE = 'RETRAI_WEBHOOK_HOSTS can name the host, if you want that.'

/** It leads to this machine, and so do all names below it (RFC 6761). Other names are looked up at each connection. */
const LOCALHOST = /(?:^|\.)localhost\.?$/

/** Why nothing may be sent to an address; null if something may. @param hosts those that may have any address */
export function urlProblem(url: string, hosts: ReadonlySet<string>): string | null {
  const parsed = URL.parse(url)
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) return 'It must be an https:// URL.'
  if (parsed.username !== '' || parsed.password !== '') {
    return 'It must hold no user name or password.'
  }
  if (hosts.has(parsed.hostname)) return null
  if (parsed.protocol === 'http:') return `It must be https. ${ADVICE}`
  return isPrivateHost(parsed) || LOCALHOST.test(parsed.hostname)
    ? `${parsed.hostname} is not an address of the public Internet. ${ADVICE}`
    : null
}

/** The headers of Standard Webhooks. @param now seconds since the epoch */
function signed({ secret }: Endpoint, id: string, body: string, now: number) {
  const timestamp = String(Math.floor(now))
  const key = Buffer.from(secret.slice(PREFIX.length), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature}`,
  }
}

export type Send = (
  endpoint: Endpoint,
  id: string,
  body: string,
  signal: AbortSignal,
) => Promise<TestedWebhook>

/** Sends deliveries, only to public addresses and to these hosts. What a name leads to is checked at each connection. */
export function sender(hosts: ReadonlySet<string>, clock: () => number): Send {
  // Of its own, because only what is checked alike may use a connection again. A host is always checked alike.
  const plain = new HttpAgent({ keepAlive: true })
  const secure = new HttpsAgent({ keepAlive: true })
  const agentOf = (protocol: string) => (protocol === 'http:' ? plain : secure)
  return async (endpoint, id, body, signal) => {
    const began = performance.now()
    const answered = (status: number | null, error: string | null, answer = ''): TestedWebhook => {
      const duration_ms = Math.round(performance.now() - began)
      return { status, error, duration_ms, answer: answer.slice(0, ANSWER_CHARS) }
    }
    const problem = urlProblem(endpoint.url, hosts)
    if (problem !== null) return answered(null, problem)
    const late = AbortSignal.timeout(WITHIN_MS)
    const isGuarded = !hosts.has(new URL(endpoint.url).hostname)
    const send = fetchWith({
      accepts: upTo(ANSWER_BYTES),
      agentOf,
      ...(isGuarded && { lookup: publicOnly(ADVICE) }),
    })
    try {
      const response = await send(endpoint.url, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', ...signed(endpoint, id, body, clock()) },
        signal: AbortSignal.any([signal, late]),
      })
      const { status, body: stream } = response
      // What is received counts, whatever becomes of the rest of the answer.
      const answer =
        stream === null ? '' : await text(Readable.fromWeb(stream as never)).catch(() => '')
      return answered(status, whyNot(status), answer)
    } catch (cause) {
      const why = messageOf(cause) || codeOf(cause) || 'the connection failed'
      return answered(
        null,
        late.aborted ? `There was no answer within ${WITHIN_MS / 1000} s.` : why,
      )
    }
  }
}

/** Why an answer with this status does not count as received; null if it does. */
function whyNot(status: number): string | null {
  if (status >= 200 && status < 300) return null
  const advice = status >= 300 && status < 400 ? ', a redirect, which is not followed' : ''
  return `It answered ${status}${advice}.`
}
