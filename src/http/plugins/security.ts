import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { err, type Result } from 'neverthrow'
import type { Problem, ProblemCode } from '../../api/problems.ts'
import { type Permission, type Role, roleMay, rolesThatMay } from '../../api/roles.ts'
import type { Auth } from '../../auth/auth.ts'
import type { Caller, Rejection, TokenLifetime } from '../../auth/callers.ts'
import { whenClosed } from '../../lib/when-closed.ts'
import { sendProblem } from '../problems/problem.ts'
import { credentialOf } from './credentials.ts'

const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i

/** Headers of every answer. Pages of the console and of the docs have policies of their own. */
export const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
} as const

/**
 * Guards every request, WebSocket upgrades included, before anything else handles it. This server runs commands
 * on its machine, so a foreign page in somebody's browser must not reach it: neither under the page's own
 * name (Origin, Sec-Fetch-Site) nor under a name that leads to this server (Host). Then it admits callers with the
 * permission of the route. A route without a permission is open to everybody.
 */
export const security = fp<{ readonly auth: Auth }>(
  async (app, { auth }) => {
    app.decorateRequest('caller', null)
    app.decorateRequest('principal', { getter: principalOf })
    app.decorateRequest('role', { getter: roleOf })
    app.decorateRequest('tokenLifetime', { getter: lifetimeOf })
    // It makes no promise where none is needed, because every request passes here.
    app.addHook('onRequest', (request, reply, done) => {
      reply.headers(SECURITY_HEADERS)
      // The framework makes this object each time it is asked.
      const { url: route, config } = request.routeOptions
      const refused = refusalOf(request, route, auth.guarded)
      if (refused !== null) {
        if (request.ws && refused.code === 'bad_request')
          reply.header('sec-websocket-version', WEBSOCKET_VERSION)
        void sendProblem(request, reply, refused)
        return
      }
      const { needs } = config
      if (needs === undefined) return done()
      const admit = (caller: Result<Caller, Rejection>): void => {
        if (caller.isOk()) request.caller = caller.value
        const problem = admission(caller, needs)
        if (problem?.code === 'unauthenticated') {
          reply.header('www-authenticate', 'Bearer realm="retrai"')
        }
        if (problem === null) done()
        else void sendProblem(request, reply, problem)
      }
      const caller = identify(request, auth)
      if (caller instanceof Promise) void caller.then(admit, done)
      else admit(caller)
    })
    app.addHook('onSend', (request, { raw }, payload, done) => {
      if (request.caller !== null && payload instanceof Readable)
        cutAtEnd(request.caller.lifetime, raw)
      done()
    })
  },
  // If a hook refuses an upgrade, the plugin of WebSockets closes the connection, so that plugin must come first.
  { name: 'security', dependencies: ['connection-limits', '@fastify/websocket'] },
)

/** Whether WebSockets may be opened at a route. */
export const isOfSockets = (route: string): boolean => /^\/api\/ws\b/.test(route)

const WEBSOCKET_VERSION = '13'
const TOKENS = /^ *[\w!#$%&'*+.^`|~-]+ *(, *[\w!#$%&'*+.^`|~-]+ *)*$/

/** Why a request is refused for every caller; null if it is not. */
function refusalOf(
  request: FastifyRequest,
  route: string | undefined,
  guarded: boolean,
): Problem | null {
  const foreign = foreignness(request, route, guarded)
  if (foreign !== null) return { code: foreign }
  const broken = brokenHead(request, route)
  return broken === null ? null : { code: 'bad_request', detail: broken }
}

/**
 * Why Node or the WebSocket library would refuse the request without a problem document, or why it could be taken for
 * another one; null if neither.
 */
function brokenHead(
  { headers, raw, ws }: FastifyRequest,
  route: string | undefined,
): string | null {
  if (headers.host === undefined && raw.httpVersion === '1.1') return 'The Host header is missing.'
  // Node keeps the first of several headers. A proxy before this server may have used another one.
  if (countOf('host', raw.rawHeaders) > 1) return 'There is more than one Host header.'
  if (!ws) return null
  // An address without a route is refused later.
  if (route !== undefined && !isOfSockets(route)) {
    return 'This address is not for WebSockets. /api/ws/{run_id} and /api/ws are.'
  }
  if (!/^[+/0-9a-z]{22}==$/i.test(headers['sec-websocket-key'] ?? '')) {
    return 'Sec-WebSocket-Key must be 16 bytes in base64. Connect with a WebSocket client.'
  }
  if (!['13', '8'].includes(headers['sec-websocket-version'] ?? '')) {
    return `Sec-WebSocket-Version must be ${WEBSOCKET_VERSION}.`
  }
  const protocols = headers['sec-websocket-protocol']
  if (protocols === undefined) return null
  const names = protocols.split(',').map((name) => name.trim())
  const good = TOKENS.test(protocols) && new Set(names).size === names.length
  return good ? null : 'Sec-WebSocket-Protocol must be different names, separated by commas.'
}

/** @param rawHeaders names and values in turn */
function countOf(name: string, rawHeaders: readonly string[]): number {
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === name) count += 1
  }
  return count
}

/**
 * Cuts a long answer off when its caller loses the permission to read. The answer gets no proper end, so nobody
 * mistakes a part for the whole.
 */
function cutAtEnd(lifetime: TokenLifetime, response: ServerResponse): void {
  const forget = lifetime.onEnd(() => response.destroy())
  whenClosed(response, forget)
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller; null before authentication, and on open routes. */
    caller: Caller | null
    /** The name of the caller, as the log records it. @throws TypeError if there is no caller */
    readonly principal: string
    readonly role: Role
    /** The lifetime of the caller's token. */
    readonly tokenLifetime: TokenLifetime
  }
}

const callerOf = ({ caller }: FastifyRequest): Caller => {
  if (caller === null) throw new TypeError('request.caller was read on an unauthenticated route')
  return caller
}
function principalOf(this: FastifyRequest): string {
  return callerOf(this).principal
}
function roleOf(this: FastifyRequest): Role {
  return callerOf(this).role
}
function lifetimeOf(this: FastifyRequest): TokenLifetime {
  return callerOf(this).lifetime
}

/** How long a request waits until the server has read the tokens, milliseconds. */
const READ_WITHIN_MS = 2_000

/** At once, unless it takes a ticket, or a server that has just started is still reading the tokens. */
function identify(
  request: FastifyRequest,
  auth: Auth,
): Result<Caller, Rejection> | Promise<Result<Caller, Rejection>> {
  const credential = credentialOf(request)
  if (credential?.type === 'ticket') return auth.redeem(credential.ticket)
  const caller = auth.authenticate(credential?.token)
  if (caller.isOk() || caller.error.type !== 'tokens_unread') return caller
  return auth
    .read(READ_WITHIN_MS)
    .then((read) => (read ? auth.authenticate(credential?.token) : err(caller.error)))
}

/** Why a caller may not do what needs this permission; null if the caller may. */
function admission(caller: Result<Caller, Rejection>, needs: Permission): Problem | null {
  if (caller.isErr()) {
    const { type: code, ...rest } = caller.error
    return { code, ...rest }
  }
  return roleMay(caller.value.role, needs) ? null : forbidden(caller.value, needs)
}

/** @param needs the permission that a caller of this role does not have */
export function forbidden({ role }: Pick<Caller, 'role'>, needs: Permission): Problem {
  const roles = rolesThatMay(needs).join(' or ')
  const detail = `This needs the role ${roles}, and yours is ${role} (permission ${needs}).`
  return { code: 'forbidden', detail }
}

/** A server that may need no token answers only on loopback names. */
function foreignness(
  request: FastifyRequest,
  route: string | undefined,
  guarded: boolean,
): ProblemCode | null {
  if (!guarded && !LOOPBACK_HOST.test(request.headers.host ?? '')) return 'foreign_host'
  return !sameOrigin(request, guarded) || crossSite(request, route) ? 'foreign_origin' : null
}

/** A server with tokens may be behind a proxy that ends TLS, so the scheme may differ. */
function sameOrigin({ headers, protocol }: FastifyRequest, anyScheme: boolean): boolean {
  const { origin, host } = headers
  if (origin === undefined) return true
  if (host === undefined) return false
  const schemes = anyScheme ? ['http', 'https'] : [protocol]
  return schemes.some((scheme) => origin.toLowerCase() === `${scheme}://${host.toLowerCase()}`)
}

/**
 * Browsers send the origin of a request. A link of another site may lead to a page, but to nothing under /api, because
 * a browser may follow a link that nobody clicked (a redirect is enough).
 */
function crossSite(request: FastifyRequest, route = request.url): boolean {
  const { headers, method } = request
  const site = headers['sec-fetch-site']
  if (site === undefined) return couldBeForeign(request) && isOfApi(route)
  if (site === 'same-origin' || site === 'none') return false
  const followsLink = method === 'GET' && headers['sec-fetch-dest'] === 'document'
  return !followsLink || isOfApi(route)
}

/** @param route because one address has many spellings; the address if it has no route */
const isOfApi = (route: string): boolean => /^\/api(\/|$|\?)/.test(route)

/**
 * For browsers that send no Sec-Fetch-Site: old ones, and all of them over plain HTTP to another machine. If such a
 * request has a Referer, it must be an address of this server; if it asks for a page (a navigation, which no program
 * makes), it is refused. Pictures and scripts of such a browser can still send requests; they cannot read the answers.
 */
function couldBeForeign({ headers }: FastifyRequest): boolean {
  const { referer, host = '', accept = '' } = headers
  if (referer === undefined)
    return headers.origin === undefined && /\bapplication\/xhtml\+xml\b/i.test(accept)
  return URL.parse(referer)?.host !== host.toLowerCase()
}
