import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Result } from 'neverthrow'
import { type Permission, roleMay, rolesThatMay } from '../../api/auth.ts'
import type { Problem } from '../../api/problems.ts'
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

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The permission that a caller needs. Every route under /api names one. */
    needs?: Permission
  }
}

/** Fails the start if a route under /api names no permission, so that no route is open by mistake. */
export function requirePermissions(app: FastifyInstance): void {
  app.addHook('onRoute', ({ url, method, config }) => {
    if (config?.needs === undefined && /^\/api(\/|$)/.test(url)) {
      throw new Error(`the route ${String(method)} ${url} names no permission`)
    }
  })
}

/**
 * Guards every request, WebSocket upgrades included, before anything else handles it. This server runs commands
 * on its machine, so a foreign page in somebody's browser must not reach it: neither under the page's own
 * name (Origin, Sec-Fetch-Site) nor under a name that leads to this server (Host). Then it admits callers with the
 * permission of the route. A route without a permission is open to everybody.
 */
export function guard(app: FastifyInstance, auth: Auth): void {
  app.decorateRequest('caller', null)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(SECURITY_HEADERS)
    // The framework makes this object each time it is asked.
    const { url: route, config } = request.routeOptions
    const refused = refusalOf(request, route, auth.guarded)
    if (refused !== null) return sendProblem(request, reply, refused)
    const { needs } = config
    if (needs === undefined) return
    const caller = await identify(request, auth)
    if (caller.isOk()) request.caller = caller.value
    const problem = admission(caller, needs)
    if (problem === null) return
    if (problem.code === 'unauthenticated') {
      reply.header('www-authenticate', 'Bearer realm="retrai"')
    }
    return sendProblem(request, reply, problem)
  })
  app.addHook('onSend', (request, { raw }, payload, done) => {
    if (request.caller !== null && payload instanceof Readable)
      cutAtEnd(request.caller.lifetime, raw)
    done()
  })
}

/** Whether WebSockets may be opened at a route. */
const isOfSockets = (route: string): boolean => /^\/api\/ws\b/.test(route)

/**
 * Why a request is refused for every caller; null if it is not. A server that may need no token answers only on loopback
 * names.
 */
function refusalOf(
  request: FastifyRequest,
  route: string | undefined,
  guarded: boolean,
): Problem | null {
  const { headers, raw, ws } = request
  const broken = (detail: string) => ({ code: 'bad_request', detail }) as const
  if (!guarded && !LOOPBACK_HOST.test(headers.host ?? '')) return { code: 'foreign_host' }
  if (!sameOrigin(request, guarded) || crossSite(request, route)) return { code: 'foreign_origin' }
  if (headers.host === undefined && raw.httpVersion === '1.1') {
    return broken('The Host header is missing.')
  }
  // Node keeps the first of several headers. A proxy before this server may have used another one.
  if ((raw.headersDistinct.host?.length ?? 0) > 1) {
    return broken('There is more than one Host header.')
  }
  // An address without a route is refused later.
  if (!ws || route === undefined || isOfSockets(route)) return null
  return broken('This address is not for WebSockets. /api/ws/{run_id} and /api/ws are.')
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
  }
}

/** The caller of a request. @throws TypeError on an open route */
export function callerOf({ caller }: Pick<FastifyRequest, 'caller'>): Caller {
  if (caller === null) throw new TypeError('a caller was read on an unauthenticated route')
  return caller
}

/** How long a request waits until the server has read the tokens, milliseconds. */
const READ_WITHIN_MS = 2_000

/** A server that has just started may still be reading the tokens. */
async function identify(request: FastifyRequest, auth: Auth): Promise<Result<Caller, Rejection>> {
  const credential = credentialOf(request)
  if (credential?.type === 'ticket') return auth.tickets.redeem(credential.ticket)
  const caller = auth.authenticate(credential?.token)
  if (caller.isOk() || caller.error.type !== 'tokens_unread') return caller
  return (await auth.read(READ_WITHIN_MS)) ? auth.authenticate(credential?.token) : caller
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
