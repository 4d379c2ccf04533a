import * as z from 'zod'
import { Goal, IsolationOffer, McpOffer, Model } from '../api/about-server.ts'
import { Me, NewTokenView, type Role, TicketView, TokenView } from '../api/auth.ts'
import type { Kind } from '../api/records.ts'
import { SearchResults } from '../api/search.ts'
import {
  type CreateWebhook,
  DeliveryView,
  NewWebhookView,
  TestedWebhook,
  WebhookView,
} from '../api/webhooks.ts'
import { type Accesses, type Audit, createAccesses, createAudit } from './audit.ts'
import {
  type Answered,
  CLIENT_LIMITS,
  type ClientLimits,
  createRest,
  queryOf,
  type Rest,
  type Signal,
} from './call.ts'
import type { Kinds } from './events.ts'
import { createHistory, type History } from './history.ts'
import { createRuns, type Runs } from './runs.ts'
import { type WatchOptions, watch } from './watch.ts'
import { type FeedOptions, watchAll } from './watch-all.ts'

export type ClientOptions = {
  /** The address of the server, such as `http://127.0.0.1:8000`, or `location.origin` in its own pages. */
  readonly baseUrl: string
  readonly token?: string | undefined
  readonly fetch?: typeof globalThis.fetch | undefined
  readonly WebSocket?: (new (url: string, protocols: string[]) => WebSocket) | undefined
  readonly limits?: Partial<ClientLimits> | undefined
}

/** What to search for: words, all of them; `"a phrase"`; the last word counts by its beginning. */
export type SearchRequest = {
  readonly q: string
  readonly run_id?: string | undefined
  readonly kinds?: readonly Kind[] | undefined
  /** At most 100; the server's default is 20. */
  readonly limit?: number | undefined
  /** `next` of the previous page. */
  readonly cursor?: string | undefined
}

export type Client = ReturnType<typeof createClient>

/**
 * A client of one server, for browsers and Node.
 * @throws TypeError if `baseUrl` is not an http:// or https:// URL
 */
export function createClient(options: ClientOptions) {
  const { token, WebSocket = globalThis.WebSocket } = options
  const baseUrl = readBaseUrl(options.baseUrl)
  const limits = { ...CLIENT_LIMITS, ...options.limits }
  // Browsers require that fetch is called on the window.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((...args) => globalThis.fetch(...args))
  const rest = createRest({ ...limits, baseUrl, token, fetch })
  const runs: Runs = createRuns(rest)
  const history: History = createHistory(rest, limits)
  const audit: Audit = createAudit(rest)
  const tokens: Tokens = createTokens(rest)
  const webhooks: Webhooks = createWebhooks(rest)
  const access: Accesses = createAccesses(rest)
  const protocols = token === undefined ? [] : ['retrai', `retrai.bearer.${base64url(token)}`]
  const connect = (path: string) =>
    new WebSocket(`${baseUrl.replace(/^http/, 'ws')}${path}`, protocols)
  return {
    /** Whose token the client has, and what it permits. */
    me: (options?: Signal): Answered<Me> => rest.get('/api/me', Me, options),
    /** A ticket opens one WebSocket of this server within 30 seconds, as `?ticket=`. `watch` does not need one. */
    ticket: (options?: Signal): Answered<TicketView> =>
      rest.send('POST', '/api/tickets', undefined, TicketView, options),
    runs,
    /** What was found, the newest run first, within a run by seq. */
    search: ({ kinds, ...query }: SearchRequest, options?: Signal): Answered<SearchResults> =>
      rest.get(
        `/api/search${queryOf({ ...query, kinds: kinds?.join(',') })}`,
        SearchResults,
        options,
      ),
    history,
    audit,
    tokens,
    webhooks,
    /** Who read what. */
    access,
    /** The goals that a run can have. With `cwd`, those that fit the project in that folder of the server, best first. */
    goals: ({
      cwd,
      ...options
    }: Signal & { readonly cwd?: string } = {}): Answered<readonly Goal[]> =>
      rest.get(`/api/goals${queryOf({ cwd })}`, z.array(Goal), options),
    /** The models that a run can name, the default first. */
    models: (options?: Signal): Answered<readonly Model[]> =>
      rest.get('/api/models', z.array(Model), options),
    /** The isolation that a run may ask for. */
    isolation: (options?: Signal): Answered<IsolationOffer> =>
      rest.get('/api/isolation', IsolationOffer, options),
    /** The MCP servers that a run may have. */
    mcpServers: (options?: Signal): Answered<McpOffer> =>
      rest.get('/api/mcp-servers', McpOffer, options),
    /**
     * The events of a run: its history after `after`, then live events, until the run has ended. Each event comes once
     * and in order. If the connection is lost, the client connects again and resumes. With `live: true` it also yields
     * what is being written and is not a record yet.
     * @throws WatchError (from the iteration) if the watch cannot continue, the reason of `signal` if that aborts
     */
    watch: <
      const S extends Kinds | undefined = undefined,
      const L extends boolean | undefined = undefined,
    >(
      runId: string,
      options: WatchOptions<S, L> = {},
    ) => watch(runId, options, { connect, runs, limits }),
    /**
     * The events of all runs in the order of the log: the history after `after`, then live events, without end. Each
     * event comes once, as with `watch`.
     * @throws FeedError (from the iteration) if the watch cannot continue, the reason of `signal` if that aborts
     */
    watchAll: <
      const S extends Kinds | undefined = undefined,
      const L extends boolean | undefined = undefined,
    >(
      options: FeedOptions<S, L> = {},
    ) => watchAll(options, { connect, runs, limits }),
  }
}

/** @throws TypeError */
export function readBaseUrl(text: string): string {
  const { protocol, origin, pathname } = new URL(text)
  if (!/^https?:$/.test(protocol)) throw new TypeError(`${text} is not an http:// or https:// URL`)
  return `${origin}${pathname.replace(/\/+$/, '')}`
}

/** A WebSocket of a browser cannot carry headers; the token goes as the name of a subprotocol. */
function base64url(text: string): string {
  const bytes = String.fromCodePoint(...new TextEncoder().encode(text))
  return btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

/** The calls of /api/tokens, for admins; auditors may list. */
export interface Tokens extends ReturnType<typeof createTokens> {}

const createTokens = ({ get, send }: Rest) => ({
  /** All tokens, newest first, revoked ones too. */
  list: (options?: Signal): Answered<readonly TokenView[]> =>
    get('/api/tokens', z.array(TokenView), options),
  /** The secret is only in this answer. `expires_in` is in seconds; without it, the token does not expire. */
  create: (
    wanted: {
      readonly name: string
      readonly role: Role
      readonly expires_in?: number | null | undefined
    },
    options?: Signal,
  ): Answered<NewTokenView> => send('POST', '/api/tokens', wanted, NewTokenView, options),
  revoke: (
    id: string,
    { reason }: { readonly reason?: string | undefined } = {},
    options?: Signal,
  ): Answered<TokenView> => {
    const path = `/api/tokens/${encodeURIComponent(id)}${queryOf({ reason })}`
    return send('DELETE', path, undefined, TokenView, options)
  },
})

const webhookPath = (id: string, what = ''): string =>
  `/api/webhooks/${encodeURIComponent(id)}${what}`

/** The calls of /api/webhooks, for admins. */
export interface Webhooks extends ReturnType<typeof createWebhooks> {}

const createWebhooks = ({ get, send }: Rest) => ({
  /** Oldest first. */
  list: (options?: Signal): Answered<readonly WebhookView[]> =>
    get('/api/webhooks', z.array(WebhookView), options),
  get: (id: string, options?: Signal): Answered<WebhookView> =>
    get(webhookPath(id), WebhookView, options),
  /** The secret is only in this answer. */
  create: (wanted: CreateWebhook, options?: Signal): Answered<NewWebhookView> =>
    send('POST', '/api/webhooks', wanted, NewWebhookView, options),
  delete: (id: string, options?: Signal): Answered<WebhookView> =>
    send('DELETE', webhookPath(id), undefined, WebhookView, options),
  resume: (id: string, options?: Signal): Answered<WebhookView> =>
    send('POST', webhookPath(id, '/resume'), undefined, WebhookView, options),
  test: (id: string, options?: Signal): Answered<TestedWebhook> =>
    send('POST', webhookPath(id, '/test'), undefined, TestedWebhook, options),
  /** The last tries, newest first. */
  deliveries: (id: string, options?: Signal): Answered<readonly DeliveryView[]> =>
    get(webhookPath(id, '/deliveries'), z.array(DeliveryView), options),
})
