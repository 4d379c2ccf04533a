import type { Readable } from 'node:stream'
import type { FastifyBaseLogger } from 'fastify'
import type { ResultAsync } from 'neverthrow'
import type { AccessRecorder } from '../audit/access-log/access-recorder.ts'
import type { Audit } from '../audit/audit.ts'
import type { Access } from '../auth/auth.ts'
import type { RunConfig } from '../domain/run-config.ts'
import type { Author } from '../log/run-log.ts'
import type { Checkpoint } from '../projections/batch.ts'
import type { ReadModel } from '../projections/read-model.ts'
import type { RedactError, Redacted, RedactRequest } from '../redaction/redact-run.ts'
import type { LoggedRedaction } from '../redaction/redaction-ledger.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import type { LiveLimits } from './live/limits.ts'
import type { FieldProblem } from './problems/problem.ts'

/** What a client may choose of a run, with the defaults filled in. */
export type RunRequest = Omit<RunConfig, 'shell_goal'>

/** What a run is made from. */
export type PlannedRun = { readonly config: RunConfig; readonly systemPrompt: string }

export type Readiness = {
  readonly ready: boolean
  readonly checks: Readonly<
    Record<string, { readonly ok: boolean; readonly detail?: string | undefined }>
  >
}

/** A tool as models are told of it. `parameters` is a JSON Schema of an object. */
export type OfferedTool = {
  readonly name: string
  readonly description: string
  readonly parameters: Readonly<Record<string, unknown>>
}

/** Whole outputs of tools, by the SHA-256 (hex) of their bytes. */
export type ArtifactSource = {
  /** Null where there is none of that name. The stream must be read or destroyed. */
  read(sha256: string): Promise<{ readonly bytes: number; readonly stream: Readable } | null>
}

/** What was taken out of runs, and how more of it is. */
export type Redactions = {
  redact(request: RedactRequest, author: Author): ResultAsync<Redacted, RedactError>
  /** Oldest first. */
  ofRun(runId: string): readonly LoggedRedaction[]
  /** An event as it is now. */
  asOfNow(event: RecordedEvent): RecordedEvent
  /** Calls `forget` with each run out of which something was taken, before that is answered. */
  onRedacted(forget: (runId: string) => void): void
}

/** All that the HTTP room needs from the rest of the house. */
export type AppDeps = {
  readonly store: EventStore
  readonly readModel: ReadModel
  /** The last record that is projected; null while there is none. */
  readonly checkpoint: () => Checkpoint | null
  readonly artifacts: ArtifactSource
  /** Without one there are no keys, proofs, exports and checkpoints to ask for. */
  readonly audit?: Audit
  /** Tokens of conversation that a model is sent at most. */
  readonly contextBudget: (modelName: string) => Promise<number>
  /** The tools that models are offered. */
  readonly tools: readonly OfferedTool[]
  readonly goals: readonly { readonly name: string; readonly description: string }[]
  /** Checks what only the agent can know, and names all problems at once. */
  readonly planRun: (request: RunRequest) => ResultAsync<PlannedRun, readonly FieldProblem[]>
  /** The environment variable that a model needs and that is not set; null if it can be used. */
  readonly missingKey: (modelName: string) => string | null
  /** Seconds since the epoch. */
  readonly clock: () => number
  readonly defaults: Pick<RunConfig, 'cwd' | 'model_name' | 'max_iterations'>
  readonly ready: () => Promise<Readiness>
  /** Who may ask. */
  readonly access: Access
  /** Where it is noted who was shown what. Without one it is not. */
  readonly accessLog?: Pick<AccessRecorder, 'note'>
  /** Without them nothing can be taken out of a run. */
  readonly redactions?: Redactions
  /** Without one nothing is logged. */
  readonly logger?: FastifyBaseLogger
  readonly live?: Partial<LiveLimits>
}
