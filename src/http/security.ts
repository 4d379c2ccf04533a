import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { sendProblem } from './problem.ts'
import type { ProblemCode } from './problem-catalogue.ts'

/** With a token every API request must carry it; without one only loopback names are answered. */
export type Security = { readonly token: string | null }

const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
} as const

/**
 * Guards every request, WebSocket upgrades among them, before anything else looks at it. This server
 * runs commands on its machine, so a page that somebody happens to have open must not reach it: not by
 * its own name (Origin, Sec-Fetch-Site), and not by a name of its own that leads here (Host).
 */
export function guard(app: FastifyInstance, { token }: Security): void {
  const expected = token === null ? null : digest(token)
  app.decorateRequest('principal', 'local')
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS)
    const refusal = refuse(request, expected)
    if (refusal === 'unauthenticated') reply.header('www-authenticate', 'Bearer realm="retrai"')
    if (refusal !== null) return sendProblem(request, reply, { code: refusal })
    if (expected !== null) request.principal = 'token'
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, as the log records it beside what was asked. */
    principal: string
  }
}

function refuse(request: FastifyRequest, expected: Buffer | null): ProblemCode | null {
  if (expected === null && !LOOPBACK_HOST.test(request.headers.host ?? '')) return 'foreign_host'
  if (!sameOrigin(request, expected !== null) || crossSite(request)) return 'foreign_origin'
  const guarded = expected !== null && isApi(request)
  return guarded && !carries(request, expected) ? 'unauthenticated' : null
}

/** Behind a token there may be a proxy that ends TLS, so there the scheme may differ. */
function sameOrigin({ headers, protocol }: FastifyRequest, anyScheme: boolean): boolean {
  const { origin, host } = headers
  if (origin === undefined) return true
  if (host === undefined) return false
  const schemes = anyScheme ? ['http', 'https'] : [protocol]
  return schemes.some((scheme) => origin.toLowerCase() === `${scheme}://${host.toLowerCase()}`)
}

/** Browsers say where a request comes from. Following a link to here is harmless; all else is not. */
function crossSite({ headers, method }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin' || site === 'none') return false
  const followsLink = method === 'GET' && headers['sec-fetch-dest'] === 'document'
  return !followsLink
}

/** By the route and not by the address, which can be spelt in many ways. */
const isApi = ({ routeOptions }: FastifyRequest): boolean => {
  return routeOptions.url?.startsWith('/api/') ?? false
}

function carries(request: FastifyRequest, expected: Buffer): boolean {
  const given = bearerToken(request) ?? protocolToken(request)
  return given !== undefined && timingSafeEqual(digest(given), expected)
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

function bearerToken({ headers }: FastifyRequest): string | undefined {
  return /^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]
}

const PROTOCOL = 'retrai'
const TOKEN_PROTOCOL = 'retrai.bearer.'

/** A browser cannot set headers on a WebSocket, so there the token may come as a subprotocol. */
function protocolToken({ headers }: FastifyRequest): string | undefined {
  const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim())
  const carrier = offered?.find((name) => name.startsWith(TOKEN_PROTOCOL))
  if (carrier === undefined) return undefined
  return Buffer.from(carrier.slice(TOKEN_PROTOCOL.length), 'base64url').toString()
}

/** Browsers insist that one of the offered protocols is chosen; the token is not echoed if avoidable. */
export function chooseProtocol(offered: ReadonlySet<string>): string | false {
  if (offered.has(PROTOCOL)) return PROTOCOL
  const [first] = offered
  return first ?? false
}
