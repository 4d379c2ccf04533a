import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { ResultAsync } from 'neverthrow'
import type { Readiness } from '../api/health.ts'
import type { IsolationOffer } from '../api/isolation.ts'
import type { McpOffer } from '../api/mcp.ts'
import type { Model } from '../api/models.ts'
import type { FieldProblem } from '../api/problems.ts'
import type { Goal } from '../api/runs.ts'
import type { AccessRecorder } from '../audit/access-log/access-recorder.ts'
import type { Audit } from '../audit/audit.ts'
import type { Auth } from '../auth/auth.ts'
import type { ApprovalRules } from '../domain/approvals/rules.ts'
import type { IsolationPolicy } from '../domain/isolation.ts'
import type { ProjectFolder } from '../domain/project-folder.ts'
import type { RunRequest } from '../domain/requested-goal.ts'
import type { ConfigChanges, RunConfig } from '../domain/run-config.ts'
import type { LiveParts } from '../live/live-parts.ts'
import type { Author } from '../log/run-log.ts'
import type { Checkpoint } from '../projections/batch.ts'
import type { ReadModel } from '../projections/read-model.ts'
import type { RunHistory } from '../queries/run-history.ts'
import type { RedactError, Redacted, RedactRequest } from '../redaction/redact-run.ts'
import type { LoggedRedaction } from '../redaction/redaction-ledger.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import type { LiveLimits } from './live/limits.ts'

/** A fastify instance whose routes get their types from zod schemas. */
export type ZodApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

/** What the server creates a run from. */
export type PlannedRun = {
  readonly config: RunConfig
  readonly systemPrompt: string
  /** How its commands are isolated, for the record. */
  readonly isolation?: IsolationPolicy
  /** Which folder its project is, for the record. */
  readonly project?: ProjectFolder
  /** The rules of the server for the calls of every run, for the record. */
  readonly serverApprovals?: ApprovalRules
  /** What may be a mistake in the request, as sentences for people. */
  readonly warnings?: readonly string[]
}

/** A tool as models get it. `parameters` is a JSON Schema of an object. */
type OfferedTool = {
  readonly name: string
  readonly description: string
  readonly parameters: Readonly<Record<string, unknown>>
}

/** Whole outputs of tools, by the SHA-256 (hex) of their bytes. */
export type ArtifactSource = {
  /** Null if there is no such output. The caller must read or destroy the stream. */
  read(sha256: string): Promise<{ readonly bytes: number; readonly stream: Readable } | null>
}

/** The redactions of this log, and the way to add one. */
export type Redactions = {
  redact(request: RedactRequest, author: Author): ResultAsync<Redacted, RedactError>
  /** Oldest first. */
  ofRun(runId: string): readonly LoggedRedaction[]
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

/** Everything that the HTTP room needs from the other rooms. */
export type AppDeps = {
  readonly store: EventStore
  readonly readModel: ReadModel
  /** The last record that is projected; null if there is none. */
  readonly checkpoint: () => Checkpoint | null
  readonly artifacts: ArtifactSource
  /** Without it, there are no routes for keys, proofs, exports and checkpoints. */
  readonly audit?: Audit
  /** The most tokens of a conversation that a model gets. */
  readonly contextBudget: (modelName: string) => Promise<number>
  /** The tools that models may call. */
  readonly tools: readonly OfferedTool[]
  readonly goals: readonly Goal[]
  /** The goals that fit the project in a folder, best first; an error if no run may have that folder. */
  readonly fittingGoals: (cwd: string) => ResultAsync<readonly Goal[], readonly FieldProblem[]>
  /** Checks what only the agent knows, and returns all problems at once. */
  readonly planRun: (request: RunRequest) => ResultAsync<PlannedRun, readonly FieldProblem[]>
  /** Checks a change to the configuration of a run, as far as only the agent can. */
  readonly changeProblems: (
    changes: ConfigChanges,
    config: RunConfig,
  ) => Promise<readonly FieldProblem[]>
  /** The models that runs may name, the default first. */
  readonly models: () => Promise<readonly Model[]>
  /** The isolation that a run may ask for. Without it, there is no route for that. */
  readonly isolationOffer?: () => Promise<IsolationOffer>
  /** The MCP servers that a run may have. Without it, there is no route for that. */
  readonly mcpOffer?: McpOffer
  /** The rules of the server for the calls of every run. */
  readonly serverApprovals?: ApprovalRules
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly defaults: Pick<RunConfig, 'cwd' | 'model_name' | 'max_iterations'>
  /** The pool of the runs that this server accepts; null if every server may work on them. */
  readonly pool?: string | null
  readonly ready: () => Promise<Readiness>
  /** Authenticates callers. */
  readonly auth: Auth
  /** Records accesses. Without it, nothing records them. */
  readonly accessLog?: Pick<AccessRecorder, 'note'>
  /** Without them, nothing can be redacted. */
  readonly redactions?: Redactions
  /** Without one, nothing is logged. */
  readonly logger?: FastifyBaseLogger
  readonly live?: Partial<LiveLimits>
  /** What the agent of this process writes before it is recorded. Without it, observers get records only. */
  readonly liveParts?: LiveParts
  /** Why the server closes its sockets when it stops, if the reason is not that somebody stops it. */
  readonly whyClosing?: () => string | null
}

/** What the routes of runs need, too. */
export type RunDeps = AppDeps & { readonly history: RunHistory }

/** How long a reply waits for the read model to show what the client reads next, milliseconds. */
export const PROJECTION_WAIT_MS = 2000
