import type { FastifyRequest } from 'fastify'

/** What authenticates a request: a token, or a ticket, which is valid only once. */
type Credential =
  | { readonly type: 'token'; readonly token: string }
  | { readonly type: 'ticket'; readonly ticket: string }

const PROTOCOL = 'retrai'
const TOKEN_PROTOCOL = 'retrai.bearer.'
const TICKET_PROTOCOL = 'retrai.ticket.'

/**
 * The first of: the Authorization header, a subprotocol, a ticket in the address. Only WebSockets may have the last two,
 * because a browser cannot set their headers. A token is never in an address, because addresses are logged; a ticket
 * may be, because it is valid only once.
 */
export function credentialOf(request: FastifyRequest): Credential | undefined {
  // In any case the ticket leaves the query, even if it is not needed.
  const inAddress = request.ws ? takeTicket(request) : undefined
  const token = /^bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token !== undefined) return { type: 'token', token }
  return request.ws ? (fromProtocols(offeredProtocols(request)) ?? inAddress) : undefined
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

/** Removes the ticket from the query, so that the route gets only its own parameters. */
function takeTicket({ query }: FastifyRequest): Credential | undefined {
  if (typeof query !== 'object' || query === null || !('ticket' in query)) return undefined
  const { ticket } = query
  delete query.ticket
  return typeof ticket === 'string' ? { type: 'ticket', ticket } : undefined
}

/** Browsers require that the server chooses an offered protocol. It chooses the one without a secret if it can. */
export function chooseProtocol(offered: ReadonlySet<string>): string | false {
  if (offered.has(PROTOCOL)) return PROTOCOL
  const [first] = offered
  return first ?? false
}
