export type { Goal, IsolationOffer, McpOffer, Model } from '../api/about-server.ts'
export type {
  Checkpoint,
  InclusionProof,
  PublishedKey,
  RunProof,
} from '../api/audit.ts'
export type { Me, NewTokenView, Permission, Role, TicketView, TokenView } from '../api/auth.ts'
export type { CarriedFiles, RunChanges } from '../api/changes.ts'
export type { EventMeta } from '../api/frames.ts'
export type { RunDiff, SentConversation, SentMessage } from '../api/history.ts'
export { ALL_KINDS, DOCUMENTED_KINDS, type Kind } from '../api/records.ts'
export type { RedactedRecord as Redacted } from '../api/redactions.ts'
export type {
  RunAndStatus as RunStanding,
  RunDetails,
  RunSummary,
} from '../api/runs.ts'
export type { SearchResult, SearchResults } from '../api/search.ts'
export type { NewWebhookView, TestedWebhook, WebhookView } from '../api/webhooks.ts'
export type {
  Accesses,
  AccessPage,
  AccessProof,
  AccessQuery,
  Audit,
  LoggedAccess,
} from './audit.ts'
export type { ClientLimits, RequestError } from './call.ts'
export {
  type Client,
  type ClientOptions,
  createClient,
  readBaseUrl,
  type Tokens,
  type Webhooks,
} from './client.ts'
export {
  type AgentEvent,
  type ChosenKind,
  type Kinds,
  type Part,
  type PartsEnd,
  type PartText,
  partsAfter,
} from './events.ts'
export type { WatchState } from './follow.ts'
export { type History, HistoryError, type HistoryOptions } from './history.ts'
export type { RunPage, RunQuery, RunRequest, Runs, Why } from './runs.ts'
export { WatchError, type WatchErrorType, type WatchOptions } from './watch.ts'
export { FeedError, type FeedEvent, type FeedOptions } from './watch-all.ts'
