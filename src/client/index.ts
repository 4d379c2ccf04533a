export { ALL_KINDS, DOCUMENTED_KINDS, type Kind } from '../api/records.ts'

import * as z from 'zod'
import { Me, NewTokenView, TicketView, TokenView } from '../api/auth.ts'
import { IsolationOffer } from '../api/isolation.ts'
import { McpOffer } from '../api/mcp.ts'
import { Model } from '../api/models.ts'
import type { Role } from '../api/roles.ts'
import { Goal } from '../api/runs.ts'
import { type Accesses, type Audit, createAccesses, createAudit } from './audit.ts'
import { type Answered, createRest, queryOf, type Rest, type Signal } from './call.ts'
import type { AgentEvent, ChosenKind, Kinds } from './events.ts'
import { createHistory, type History } from './history.ts'
import { CLIENT_LIMITS, type ClientLimits } from './limits.ts'
import type { PartsOf } from './live-parts.ts'
import { createRuns, type Runs } from './runs.ts'
import { type WatchOptions, watch } from './watch.ts'
import { type FeedEvent, type FeedOptions, watchAll } from './watch-all.ts'

export type {
  Checkpoint,
  InclusionProof,
  PublishedKey,
  RunProof,
} from '../api/audit.ts'
export type { Me, NewTokenView, TicketView, TokenView } from '../api/auth.ts'
export type { EventMeta } from '../api/frames.ts'
export type { RunDiff, SentConversation, SentMessage } from '../api/history.ts'
export type { IsolationOffer } from '../api/isolation.ts'
export type { McpOffer } from '../api/mcp.ts'
export type { Model } from '../api/models.ts'
export type { RedactedRecord as Redacted } from '../api/redactions.ts'
export type { Permission, Role } from '../api/roles.ts'
export type {
  Goal,
  RunAndStatus as RunStanding,
  RunDetails,
  RunSummary,
} from '../api/runs.ts'
export type {
  Accesses,
  AccessPage,
  AccessProof,
  AccessQuery,
  Audit,
  LoggedAccess,
} from './audit.ts'
export {
  FeedError,
  HistoryError,
  type RequestError,
  WatchError,
  type WatchErrorType,
} from './errors.ts'
export type { AgentEvent, ChosenKind, Kinds } from './events.ts'
export type { WatchState } from './follow.ts'
export type { History, HistoryOptions } from './history.ts'
export type { ClientLimits } from './limits.ts'
export { type Part, type PartsEnd, type PartText, partsAfter } from './live-parts.ts'
export type { RunPage, RunQuery, RunRequest, Runs, Why } from './runs.ts'
export type { WatchOptions } from './watch.ts'
export type { FeedEvent, FeedOptions } from './watch-all.ts'

export type ClientOptions = {
  /** The address of the server, such as `http://127.0.0.1:8000`, or `location.origin` in its own pages. */
  readonly baseUrl: string
  readonly token?: string | undefined
  readonly fetch?: typeof globalThis.fetch | undefined
  readonly WebSocket?: (new (url: string, protocols: string[]) => WebSocket) | undefined
  readonly limits?: Partial<ClientLimits> | undefined
}

export type Client = {
  /** Whose token the client has, and what it permits. */
  me(options?: Signal): Answered<Me>
  /** A ticket opens one WebSocket of this server within 30 seconds, as `?ticket=`. `watch` does not need one. */
  ticket(options?: Signal): Answered<TicketView>
  readonly runs: Runs
  readonly history: History
  readonly audit: Audit
  readonly tokens: Tokens
  /** Who read what. */
  readonly access: Accesses
  /** The goals that a run can have. With `cwd`, those that fit the project in that folder of the server, best first. */
  goals(options?: Signal & { readonly cwd?: string }): Answered<readonly Goal[]>
  /** The models that a run can name, the default first. */
  models(options?: Signal): Answered<readonly Model[]>
  /** The isolation that a run may ask for. */
  isolation(options?: Signal): Answered<IsolationOffer>
  /** The MCP servers that a run may have. */
  mcpServers(options?: Signal): Answered<McpOffer>
  /**
   * The events of a run: its history after `after`, then live events, until the run has ended. Each event comes once
   * and in order. If the connection is lost, the client connects again and resumes. With `live: true` it also yields
   * what is being written and is not a record yet.
   * @throws WatchError (from the iteration) if the watch cannot continue, the reason of `signal` if that aborts
   */
  watch<
    const S extends Kinds | undefined = undefined,
    const L extends boolean | undefined = undefined,
  >(
    runId: string,
    options?: WatchOptions<S, L>,
  ): AsyncGenerator<AgentEvent<ChosenKind<S>> | PartsOf<L>, void, undefined>
  /**
   * The events of all runs in the order of the log: the history after `after`, then live events, without end. Each
   * event comes once, as with `watch`.
   * @throws FeedError (from the iteration) if the watch cannot continue, the reason of `signal` if that aborts
   */
  watchAll<
    const S extends Kinds | undefined = undefined,
    const L extends boolean | undefined = undefined,
  >(
    options?: FeedOptions<S, L>,
  ): AsyncGenerator<FeedEvent<ChosenKind<S>> | PartsOf<L>, void, undefined>
}

/**
 * A client of one server, for browsers and Node.
 * @throws TypeError if `baseUrl` is not an http:// or https:// URL
 */
export function createClient(options: ClientOptions): Client {
  const { token, WebSocket = globalThis.WebSocket } = options
  const baseUrl = readBaseUrl(options.baseUrl)
  const limits = { ...CLIENT_LIMITS, ...options.limits }
  // Browsers require that fetch is called on the window.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((...args) => globalThis.fetch(...args))
  const { requestMs, answerBytes } = limits
  const rest = createRest({ baseUrl, token, fetch, requestMs, answerBytes })
  const runs = createRuns(rest)
  const protocols = token === undefined ? [] : ['retrai', `retrai.bearer.${base64url(token)}`]
  const connect = (path: string) =>
    new WebSocket(`${baseUrl.replace(/^http/, 'ws')}${path}`, protocols)
  return {
    me: (options) => rest.get('/api/me', Me, options),
    ticket: (options) => rest.send('POST', '/api/tickets', undefined, TicketView, options),
    runs,
    history: createHistory(rest, limits),
    audit: createAudit(rest),
    tokens: createTokens(rest),
    access: createAccesses(rest),
    goals: ({ cwd, ...options } = {}) =>
      rest.get(`/api/goals${queryOf({ cwd })}`, z.array(Goal), options),
    isolation: (options) => rest.get('/api/isolation', IsolationOffer, options),
    mcpServers: (options) => rest.get('/api/mcp-servers', McpOffer, options),
    models: (options) => rest.get('/api/models', z.array(Model), options),
    watch: (runId, options = {}) => watch(runId, options, { connect, runs, limits }),
    watchAll: (options = {}) => watchAll(options, { connect, runs, limits }),
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
export type Tokens = {
  /** All tokens, newest first, revoked ones too. */
  list(options?: Signal): Answered<readonly TokenView[]>
  /** The secret is only in this answer. `expires_in` is in seconds; without it, the token does not expire. */
  create(
    wanted: {
      readonly name: string
      readonly role: Role
      readonly expires_in?: number | null | undefined
    },
    options?: Signal,
  ): Answered<NewTokenView>
  revoke(
    id: string,
    why?: { readonly reason?: string | undefined },
    options?: Signal,
  ): Answered<TokenView>
}

function createTokens({ get, send }: Rest): Tokens {
  return {
    list: (options) => get('/api/tokens', z.array(TokenView), options),
    create: (body, options) => send('POST', '/api/tokens', body, NewTokenView, options),
    revoke: (id, { reason } = {}, options) => {
      const path = `/api/tokens/${encodeURIComponent(id)}${queryOf({ reason })}`
      return send('DELETE', path, undefined, TokenView, options)
    },
  }
}
