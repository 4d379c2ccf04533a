import type { Readable } from 'node:stream'
import type { FastifyBaseLogger } from 'fastify'
import type { Result, ResultAsync } from 'neverthrow'
import type * as z from 'zod'
import type { Goal, IsolationOffer, McpOffer, Model, Readiness } from '../api/about-server.ts'
import type { CarriedFiles } from '../api/changes.ts'
import type { FieldProblem } from '../api/problems.ts'
import type { AbortRun, ApplyRun, RollbackRun } from '../api/run-requests.ts'
import type { AccessRecorder } from '../audit/access-recorder.ts'
import type { Audit } from '../audit/audit.ts'
import type { Auth } from '../auth/auth.ts'
import type { ApprovalRules } from '../domain/approvals/rules.ts'
import type { PlannedRun } from '../domain/commands.ts'
import type { CarryError } from '../domain/errors.ts'
import type { OfferedTool } from '../domain/mcp-tools.ts'
import type { ConfigChanges, RunConfig, RunRequest } from '../domain/run-config.ts'
import type { RunState } from '../domain/state.ts'
import type { LiveParts } from '../live/live-parts.ts'
import type { CommandError } from '../log/handle-command.ts'
import type { Author } from '../log/run-log.ts'
import type { LogPlace } from '../log/stream-pages.ts'
import type { ReadModel } from '../projections/read-model.ts'
import type { SearchIndex } from '../projections/search/search-index.ts'
import type { RedactError, Redacted, RedactRequest } from '../redaction/redact-run.ts'
import type { LoggedRedaction } from '../redaction/redaction-index.ts'
import type { createRetention } from '../retention/retain-runs.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'
import type { LiveLimits } from './live/deps.ts'
import type { PlanProblem } from './problems/problem-of.ts'

/** Whole outputs of tools, by the SHA-256 (hex) of their bytes. */
export type ArtifactSource = {
  /** Null for an output that is not kept. The caller must read or destroy the stream. */
  read(sha256: string): Promise<{ readonly bytes: number; readonly stream: Readable } | null>
}

/** The redactions of this log, and the way to add one. */
export type Redactions = {
  redact(request: RedactRequest, author: Author): ResultAsync<Redacted, RedactError>
  /** Oldest first. */
  ofRun(runId: string): readonly LoggedRedaction[]
  /** The packs that may hold what is kept of one: itself, or what a redaction or an export left of it. */
  packsOf(sha256: string): readonly string[]
  /** Whether a redaction of the run is known and not carried out yet. */
  isPending(runId: string): boolean
  /** An event without the texts that have been redacted. */
  asOfNow(event: RecordedEvent): RecordedEvent
  /**
   * Calls `forget` with each run in which a text is redacted, and with the artifacts that are deleted for all runs. The
   * client gets the answer after that.
   */
  onRedacted(forget: (runId: string, artifacts: ReadonlySet<string>) => void | Promise<void>): void
}

/** What was carried, or why nothing was. */
export type CarryResult<T> = PromiseLike<Result<T, CarryError | CommandError>>

/** Carries files back, and from the copies of runs to their projects. */
type Carrier = {
  rollback(id: string, how: z.output<typeof RollbackRun>, by: Author): CarryResult<CarriedFiles>
  apply(id: string, how: z.output<typeof ApplyRun>, by: Author): CarryResult<CarriedFiles>
  discard(id: string, why: z.output<typeof AbortRun>, by: Author): CarryResult<RunState>
}

/** Everything that the HTTP room needs from the other rooms. */
export type AppDeps = {
  readonly store: EventStore
  readonly readModel: ReadModel
  /** The last record that is projected; null before the first. */
  readonly checkpoint: () => LogPlace | null
  readonly artifacts: ArtifactSource & { put(content: string): Promise<string> }
  readonly search: Pick<SearchIndex, 'find' | 'behind'>
  readonly audit: Audit
  /** The most tokens of a conversation that a model gets. */
  readonly contextBudget: (modelName: string) => Promise<number>
  /** The tools that models may call. */
  readonly tools: readonly Omit<OfferedTool, 'server'>[]
  readonly goals: readonly Goal[]
  /** The goals that fit the project in a folder, best first; an error if no run may have that folder. */
  readonly fittingGoals: (cwd: string) => ResultAsync<readonly Goal[], readonly FieldProblem[]>
  /** Checks what only the agent knows, and returns all problems at once. */
  readonly planRun: (request: RunRequest) => ResultAsync<PlannedRun, readonly PlanProblem[]>
  readonly carrier: Carrier
  /** Gives a run other tags. Resolves once lists show them. */
  readonly putTags: (
    runId: string,
    given: { readonly tags: readonly string[]; readonly reason: string | null },
    principal: string,
  ) => ResultAsync<void, CommandError>
  /** The place of a run among those that wait for their turn on this server, from 1; null if it is not one. */
  readonly queuePosition: (runId: string) => number | null
  readonly retention: ReturnType<typeof createRetention>
  readonly webhooks: Webhooks
  /** Checks a change to the configuration of a run, as far as only the agent can. */
  readonly changeProblems: (
    changes: ConfigChanges,
    config: RunConfig,
  ) => Promise<readonly FieldProblem[]>
  /** The models that runs may name, the default first. */
  readonly models: () => Promise<readonly Model[]>
  /** The isolation that a run may ask for. */
  readonly isolationOffer: () => Promise<IsolationOffer>
  /** The MCP servers that a run may have. */
  readonly mcpOffer: McpOffer
  /** The rules of the server for the calls of every run. */
  readonly serverApprovals: ApprovalRules
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly defaults: Pick<RunConfig, 'cwd' | 'model_name' | 'max_iterations'>
  /** The pool of the runs that this server accepts; null if every server may work on them. */
  readonly pool?: string | null
  readonly ready: () => Promise<Readiness>
  /** How many commands run now, for /metrics. */
  readonly commandsRunning: () => number
  /** How many deliveries of webhooks are due, for /metrics. */
  readonly webhookPending: () => number
  /** Authenticates callers. */
  readonly auth: Auth
  /** Records accesses. Without it, nothing records them. */
  readonly accessLog?: Pick<AccessRecorder, 'note'>
  readonly redactions: Redactions
  /** Without one, nothing is logged. */
  readonly logger?: FastifyBaseLogger
  readonly live?: Partial<LiveLimits>
  /** What the agent of this process writes before it is recorded. Without it, observers get records only. */
  readonly liveParts?: LiveParts
  /** Why the server closes its sockets when it stops, if the reason is not that somebody stops it. */
  readonly whyClosing?: () => string | null
}

/** How long a reply waits for the read model to show what the client reads next, milliseconds. */
export const PROJECTION_WAIT_MS = 2000
