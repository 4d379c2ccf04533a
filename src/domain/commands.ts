import type { ReadOnlyTools } from './advance.ts'
import type { Verdict } from './approvals/rules.ts'
import type { ChangesApplied, FilesRolledBack } from './carried-files.ts'
import type { McpListing } from './mcp-tools.ts'
import type { Network } from './network.ts'
import type { PausedBy } from './pause.ts'
import type {
  CallDecision,
  Decision,
  FailureKind,
  Fallback,
  Idempotency,
  Kind,
  Notice,
  PayloadOf,
  Seen,
} from './records.ts'
import type { SubagentEnd } from './related-runs.ts'
import type { ConfigChanges } from './run-config.ts'

type Created = PayloadOf<'run_created'>
type Absent = 'reason' | 'instructions' | 'pool'

/** What a run is planned to be created from. */
export type PlannedRun = Omit<Created, Absent | 'idempotency' | 'parent' | 'origin' | 'taken_over'>

/** Creates a run, with what its first record says. */
export type CreateCommand = { readonly type: 'create'; readonly runId: string } & Readonly<
  Omit<Created, Absent> & { [K in Absent]?: Created[K] | null }
>

/** A command of a person on a run that exists. */
export type CommandOnRun = { readonly seen?: Seen | null } & (
  | {
      readonly type: 'respond'
      readonly decision: Decision
      readonly reason: string | null
      /** seq of the human check or pause that is answered; null answers the one that is open. */
      readonly answers: number | null
    }
  | {
      readonly type: 'answer_approval'
      readonly decision: CallDecision
      readonly reason: string | null
      /** seq of the question that is answered. */
      readonly answers: number
      /** The hash of the call that the person was shown. */
      readonly callSha256: string
      /** Whether the rule no longer asks in this run. */
      readonly liftsRule?: boolean
    }
  | {
      readonly type: 'abort'
      readonly reason: string | null
    }
  | {
      readonly type: 'send_message'
      readonly text: string
      readonly idempotency?: Idempotency
    }
  /** Files were carried to where they belong. Recorded afterwards: until then, what was begun can be done again. */
  | {
      readonly type: 'record_carried'
      readonly carried:
        | { readonly kind: 'changes_applied'; readonly payload: ChangesApplied }
        | { readonly kind: 'files_rolled_back'; readonly payload: FilesRolledBack }
    }
  /** The copy that the run worked in is removed after this is recorded. */
  | { readonly type: 'discard'; readonly reason: string | null }
  | {
      readonly type: 'configure'
      readonly changes: ConfigChanges
      readonly reason?: string | null
    }
)

/** A command of a person. It is recorded, and the process that works on the run reads it from the log. */
export type PersonCommand = CreateCommand | CommandOnRun

/** What the log says about a command of a person, beside the state of the run. */
export type FromLog = {
  /** The hashes of the records that the command names, by seq. */
  readonly hashes: ReadonlyMap<number, string>
  /** Whether it comes from the actor who started the run. */
  readonly isStarter: boolean
  /** What the sub-agents have come to that the run waits for. */
  readonly subagents: readonly SubagentEnd[]
}

/** Payloads by the kinds of their records. What is null or undefined is not recorded. */
export type Made = { readonly [K in Kind]?: PayloadOf<K> | null | undefined }

/** What the process that works on a run reports. It is refused once another process has claimed the run. */
export type AgentCommand = {
  readonly claimant: string
  readonly readOnlyTools: ReadOnlyTools
} /** `expected` is the claimant that the process saw; if there is a later claim, that one wins. */ & (
  | {
      readonly type: 'claim'
      readonly expected: string | null
      readonly pid: number
      readonly host: string
      /**
       * `crash`: the process that held the run is known to be gone, and no stop of it is known. `lease_expired`: it was
       * silent for too long.
       */
      readonly after?: 'crash' | 'lease_expired' | undefined
    }
  | { readonly type: 'proceed' }
  /** What came of the step under way, in this order. */
  | { readonly type: 'record'; readonly made: Made }
  /** Before a request to the model or a call that needs the servers. */
  | { readonly type: 'record_mcp_tools'; readonly listings: readonly McpListing[] }
  | {
      readonly type: 'record_retry'
      /** Left out if the attempt cost nothing, or nobody knows what. */
      readonly usage?: PayloadOf<'llm_usage'>
      readonly reason: string
      readonly delayMs: number
      readonly failure?: FailureKind
      /** Set if the request did not fit into the model's context window. */
      readonly contextTokens?: number
      /** Set if the run asks another model from now on. */
      readonly fallback?: Fallback
    }
  /** The next request is not sent, because it could pass a limit of the run. */
  | { readonly type: 'stop_at_limit'; readonly reason: string }
  /** What the run needs does not come back: it waits until a person lets it continue. */
  | {
      readonly type: 'pause'
      readonly by: Extract<PausedBy, 'provider' | 'disk'>
      readonly reason: string
      readonly usage?: PayloadOf<'llm_usage'>
    }
  | {
      readonly type: 'record_review'
      /** The id and the hash of the next call. */
      readonly callId: string
      readonly callSha256: string
      readonly verdict: Verdict
      /** The network of the run if a person allows the call. */
      readonly network?: Network
    }
  /** What the commands of the open call or check have done so far. */
  | { readonly type: 'record_notices'; readonly notices: readonly Notice[] }
  | {
      readonly type: 'fail'
      readonly usage?: PayloadOf<'llm_usage'>
      readonly message: string
      readonly traceback: string
    }
)

/** What a server reports of a run that it may not or cannot work on. */
export type QueueCommand = {
  readonly type: 'queue'
  /** Why no server works on the run, with advice. */
  readonly reason: string
  /** The claimant that the server saw: if another process has claimed the run since, nothing is recorded. */
  readonly expected: string | null
  /** Whether it replaces the reason that another server has recorded. */
  readonly overrides: boolean
}

export type RunCommand = PersonCommand | QueueCommand | AgentCommand
