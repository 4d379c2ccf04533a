import type { FastifyRequest } from 'fastify'

/** What a request says who it is by: a token, or a ticket that is used up by it. */
export type Credential =
  | { readonly type: 'token'; readonly token: string }
  | { readonly type: 'ticket'; readonly ticket: string }

const PROTOCOL = 'retrai'
const TOKEN_PROTOCOL = 'retrai.bearer.'
const TICKET_PROTOCOL = 'retrai.ticket.'

/**
 * The first of them: the Authorization header, a subprotocol, a ticket in the address. A browser cannot
 * set headers on a WebSocket, so only there are the other two looked for. A token never stands in an
 * address, which gets logged; a ticket may, since it is used up.
 */
export function credentialOf(request: FastifyRequest): Credential | undefined {
  const token = /^bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token !== undefined) return { type: 'token', token }
  if (!request.ws) return undefined
  const inAddress = takeTicket(request)
  return fromProtocols(offeredProtocols(request)) ?? inAddress
}

const offeredProtocols = ({ headers }: FastifyRequest): string[] =>
  headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []

function fromProtocols(offered: readonly string[]): Credential | undefined {
  for (const name of offered) {
    if (name.startsWith(TOKEN_PROTOCOL)) {
      const token = Buffer.from(name.slice(TOKEN_PROTOCOL.length), 'base64url').toString()
      return { type: 'token', token }
    }
    if (name.startsWith(TICKET_PROTOCOL)) {
      return { type: 'ticket', ticket: name.slice(TICKET_PROTOCOL.length) }
    }
  }
  return undefined
}

/** Takes the ticket out of the query, so that the route sees only what is meant for it. */
function takeTicket({ query }: FastifyRequest): Credential | undefined {
  if (typeof query !== 'object' || query === null || !('ticket' in query)) return undefined
  const { ticket } = query
  delete query.ticket
  return typeof ticket === 'string' ? { type: 'ticket', ticket } : undefined
}

/** Browsers insist that one of the offered protocols is chosen; a secret is not echoed if avoidable. */
export function chooseProtocol(offered: ReadonlySet<string>): string | false {
  if (offered.has(PROTOCOL)) return PROTOCOL
  const [first] = offered
  return first ?? false
}
