import type { ApprovalRule, RuleName, RunRules } from './approvals/rules.ts'
import type { IsolationPolicy } from './isolation.ts'
import type { McpState } from './mcp-tools.ts'
import { NETWORK_TOOL, type Network } from './network.ts'
import type { PausedBy } from './pause.ts'
import type { Plan } from './plan.ts'
import type {
  CallDecision,
  EndStatus,
  Idempotency,
  Kind,
  PayloadOf,
  RecordOf,
  RequestedCall,
  RunRecord,
} from './records.ts'
import type { Origin, Parent, ProtectedStart, Subagent } from './related-runs.ts'
import type { Effort, ProjectFolder, RunConfig } from './run-config.ts'
import type { Tampered } from './snapshots.ts'
import type { Watch } from './stuck.ts'
import type { FinalState } from './verdict.ts'

export const RUN_STATUSES = [
  'queued',
  'running',
  'awaiting_human',
  'paused',
  'achieved',
  'failed',
  'aborted',
] as const
export type RunStatus = (typeof RUN_STATUSES)[number]

/** What a list of runs can be sorted by. */
export const RUN_SORTS = ['created', 'updated', 'cost', 'iterations'] as const
export type RunSort = (typeof RUN_SORTS)[number]

/** A call whose `tool_call` is in the log and whose `tool_result` is not. */
export type OpenCall = RequestedCall & { readonly read_only: boolean }

/** Why a request to the model failed, and when it is sent again. Times are in seconds since the epoch. */
export type ModelWait = {
  readonly what: string
  /** The first of the failures in a row. */
  readonly since: number
  readonly nextTry: number
}

/** What a person decided of a call. */
export type CallAnswer = { readonly decision: CallDecision; readonly reason: string | null }

/** Where a run is in its iteration. */
export type Phase =
  /** Nothing under way: the next iteration may begin. */
  | { readonly type: 'ready' }
  /** The model in use is asked; `failures` requests to it failed in this step. */
  | {
      readonly type: 'planning'
      readonly failures: number
      /** How many of the failures were replies that are not valid; none if left out. */
      readonly invalidReplies?: number
      readonly wait?: ModelWait
    }
  /** The model has replied; none of its calls has begun. A reply that is not whole does not end its work. */
  | {
      readonly type: 'replied'
      readonly calls: readonly RequestedCall[]
      readonly isBroken?: true
    }
  | {
      readonly type: 'acting'
      readonly pending: readonly RequestedCall[]
      readonly open: OpenCall | null
      /** What a person decided of the first pending call, or of the open one. A denied call gets a result at once. */
      readonly answer?: CallAnswer
    }
  /** The first of the pending calls begins only when a person allows it. `seq` is that of the question. */
  | {
      readonly type: 'awaiting_approval'
      readonly seq: number
      readonly pending: readonly RequestedCall[]
      readonly callSha256: string
      readonly rule: RuleName
      readonly content: ApprovalRule
      readonly doubt: string | null
      /** The network of the run if the call is allowed. */
      readonly network?: Network
    }
  | { readonly type: 'evaluating' }
  /** The goal was checked; the iteration is not closed yet. */
  | { readonly type: 'checked' }
  | { readonly type: 'iterated' }
  | { readonly type: 'consulting' }
  /** `interrupted`: what the run continues with, if it stopped because of crashes, and not after an iteration. */
  | {
      readonly type: 'awaiting_human'
      readonly seq: number
      readonly summary: string
      readonly interrupted?: Phase
    }
  /** The run waits until a person lets it continue with `interrupted`. `seq` is that of `run_paused`. */
  | {
      readonly type: 'paused'
      readonly seq: number
      readonly by: PausedBy
      readonly reason: string
      readonly interrupted: Phase
    }
  | { readonly type: 'aborting'; readonly reason: string }
  | { readonly type: 'erred'; readonly message: string }
  /** The run ends without its goal, as soon as its summary is recorded. */
  | { readonly type: 'ending'; readonly reason: string; readonly isSummarized: boolean }
  /** `against`: what speaks against its goal, although it was reached. */
  | {
      readonly type: 'ended'
      readonly status: EndStatus
      readonly reason: string
      readonly against?: string
    }

/**
 * What is asked next has attempts of its own: another model, or the next reply after a summary was asked for, which makes the
 * conversation shorter.
 */
export const ASKED_ANEW: Extract<Phase, { type: 'planning' }> = { type: 'planning', failures: 0 }

/** A message that its client named, so that it is recorded once however often it is sent. */
type NamedMessage = Idempotency & { readonly seq: number }

type SnapshotState = {
  readonly seq: number
  readonly tree: string
  /** `tree`: of the start, if there is one. `protected`: the artifact with the protected files of the goal. */
  readonly first: { readonly seq: number; readonly tree: string; readonly protected?: string }
  /** How large all packs of the run are together. */
  readonly keptBytes: number
  readonly salt?: string
  /**
   * seq of the record with the hashes of what snapshots leave out. Null: a call may have changed that before it was hashed,
   * so all of it counts as changed.
   */
  readonly hashedAt?: number | null
}

export type Usage = {
  readonly tokens: number
  /** US dollars; null once the price of a call is unknown. */
  readonly costUsd: number | null
}

/**
 * The state of a run, folded from its records. Plain JSON of bounded size, so that a read model can
 * keep it: it holds no conversation and no tool output.
 */
export type RunState = {
  readonly runId: string
  readonly config: RunConfig
  /** The first line of what a person instructed; left out if nobody did. */
  readonly title?: string
  /** Who created it; left out if the log does not name anybody. */
  readonly createdBy?: string
  /** How its commands are isolated, if its first record has that. */
  readonly isolation?: IsolationPolicy
  /** Which folder its project is, if its first record has that. */
  readonly project?: ProjectFolder
  /** The run whose agent started this one. */
  readonly parent?: Parent
  /** The run that it begins from. */
  readonly origin?: Origin
  /** The folder that it works in a copy of, what is known of the copy, and whether that was removed. */
  readonly copy?: { readonly of: ProjectFolder; readonly is: 'due' | 'made' | 'discarded' }
  /** For models that would not think without one, if its configuration has none. */
  readonly defaultEffort?: Effort
  /** The runs that its agent has started, oldest first. A server limits how many one run may start. */
  readonly subagents?: readonly Subagent[]
  /** The fallback model that the run asks; null or left out: the model of its configuration. */
  readonly fallback?: string | null
  /** SHA-256 of the request that created the run, if the client sent an idempotency key. */
  readonly requestSha256: string | null
  /** Revision of the last record folded in. */
  readonly seq: number
  readonly phase: Phase
  readonly iteration: number
  /** Replies of the model in this iteration. */
  readonly turns: number
  /** Whether something may have changed since the goal was last checked. */
  readonly changed: boolean
  /** Whether the agent makes progress. */
  readonly watch: Watch
  /** Whether a person wants more than the goal: then a goal that is reached at the beginning does not end the run. */
  readonly instructed: boolean
  /** Left out if no MCP server has listed its tools. */
  readonly mcp?: McpState
  /** Where the next `bash_exec` starts, as a path from the project; left out: in the project's folder. */
  readonly shellFolder?: string
  /** What the agent intends to do, by its last call that noted it. */
  readonly plan?: Plan
  /** Of a run that begins from another one: what its protected files are compared with. */
  readonly start?: ProtectedStart
  /** The last snapshot of the project, and the first; left out if there is none. */
  readonly snapshot?: SnapshotState
  /** The artifact with the names of the tests that the first check named, if one did. */
  readonly namedTests?: string
  /** Whether the agent was shown its project. */
  readonly introduced: boolean
  /** Messages of people, and how many of them the model has been sent. */
  readonly messages: { readonly sent: number; readonly read: number }
  /** The last messages with an idempotency key, the latest last. */
  readonly namedMessages: readonly NamedMessage[]
  /** The last checks of the goal in sequence that could not be made. */
  readonly uncheckable: number
  readonly total: Usage
  readonly thisIteration: Usage
  readonly goal: { readonly achieved: boolean; readonly reason: string } | null
  /** Protected files that the last check found changed; left out if none. */
  readonly tampering?: readonly Tampered[]
  /** The final check that followed the last check of the goal; null or left out if none did. */
  readonly final?: FinalState | null
  /** Whether a final check has told the agent what it has to restore. */
  readonly wasTold?: true
  readonly error: string | null
  /** What was done, for people; null if there is no such record. */
  readonly summary: Pick<PayloadOf<'run_summary'>, 'text' | 'source'> | null
  /** The process that works on the run, by the last `run_claimed`. */
  readonly claimant: string | null
  /** A person has answered, and no process has continued the run since. */
  readonly awaitsTurn: boolean
  /** The servers that may work on the run; null for every server of the log. */
  readonly pool: string | null
  /** Why no server can work on the run, if it waits for one that can. */
  readonly queued: string | null
  /** How many processes crashed during the check or call that is under way; 0 if nothing is under way. */
  readonly crashes: number
  /** The rules for calls, and the cost at the last approval by a person; left out if the run has no rules. */
  readonly approvals?: RunRules & { readonly approvedCostUsd: number | null }
  /** Seconds since the epoch. */
  readonly createdAt: number
  readonly endedAt: number | null
  /** When the run began to wait at the open human check, and the seconds that it waited at earlier ones. */
  readonly waitingSince: number | null
  readonly waitedSeconds: number
  /** How many of these seconds are counted more than once, because sub-agents waited side by side; left out if none. */
  readonly waitedTwice?: number
  /** The time of the last record. */
  readonly lastAt: number
  /** How many seconds no server worked on the run, because it waited for its turn or its server was gone. */
  readonly idleSeconds: number
}

export function statusOf(state: RunState): RunStatus {
  switch (state.phase.type) {
    case 'ended':
      return state.phase.status
    case 'awaiting_human':
    case 'awaiting_approval':
      return 'awaiting_human'
    case 'paused':
      return 'paused'
    default:
      return state.queued === null ? 'running' : 'queued'
  }
}

/** What is known of the model that a run waits for; null while it works, or waits for something else. */
export const modelWait = ({ phase, queued }: RunState): ModelWait | null =>
  (phase.type === 'planning' && queued === null && phase.wait) || null

/** Builds a record of the run at its present iteration. `now` is in seconds since the epoch. */
export function recordOf<K extends Kind>(
  state: RunState,
  now: number,
  kind: K,
  payload: PayloadOf<K>,
): RunRecord {
  const { runId: run_id, iteration } = state
  return { kind, run_id, iteration, ts: now, payload } as RecordOf<K> as RunRecord
}

/** The sub-agent that a call has started and that has not ended in the log; null if the call has started none. */
export const startedBy = (
  { subagents = [] }: Pick<RunState, 'subagents'>,
  callId: string,
): Subagent | null =>
  subagents.findLast(({ call_id, end }) => call_id === callId && end === null) ?? null

/** Whether the rules must be compared with the next call: not after a person has answered for it, nor if it works already. */
export function isReviewDue(state: RunState): boolean {
  const { phase, approvals } = state
  if (phase.type !== 'acting' || phase.open !== null) return false
  const [next] = phase.pending
  if (next === undefined || (approvals === undefined && next.tool !== NETWORK_TOOL)) return false
  return phase.answer === undefined && !startedBy(state, next.call_id)
}

/** Whether it can still be recorded what snapshots leave out, before a call could change it. */
export const areHashesDue = ({
  snapshot,
  config,
}: Pick<RunState, 'snapshot' | 'config'>): boolean =>
  snapshot !== undefined && snapshot.hashedAt === undefined && config.on_tampering !== 'off'

/** Whether no agent has worked on the project yet, so that all of it is as at the start. */
export const isUntouched = ({ iteration, start }: Pick<RunState, 'iteration' | 'start'>): boolean =>
  iteration === 0 && start === undefined

/** Whether a run waits for a person, and not for a server. */
export const isWaiting = ({ phase }: RunState): boolean =>
  phase.type === 'awaiting_human' || phase.type === 'awaiting_approval' || phase.type === 'paused'

/** Whether no server works on a run now, or will before a person or the run's turn comes. Sub-agents rest with their parents. */
export const isAtRest = (state: RunState): boolean =>
  state.parent === undefined &&
  (state.phase.type === 'ended' || isWaiting(state) || state.awaitsTurn)

/** Whether the copy that the run works in is still to be made: nothing else begins before. */
export const isCopyDue = ({ copy, phase }: RunState): boolean =>
  copy?.is === 'due' && phase.type === 'ready'

/** Records that may come after `run_end`, which nothing else follows. */
export const AFTER_THE_END = [
  'changes_applied',
  'files_rolled_back',
  'copy_discarded',
] as const satisfies readonly Kind[]

/** Records that leave the status of a run as it was. */
const BESIDE_WORK: ReadonlySet<Kind> = new Set([
  'run_claimed',
  'run_config_changed',
  'user_message',
  'network_connection',
  'guard_changed',
  'mcp_tools_listed',
  'snapshot',
  'left_out_hashed',
  ...AFTER_THE_END,
])

/** Whether a process at work on a run recorded it. After all others, a call, check or wait is still under way. */
export const isOfWork = (kind: Kind): boolean =>
  kind === 'run_claimed' || (kind !== 'run_queued' && !BESIDE_WORK.has(kind))

/** The status of a run after one of its records, by that record alone; null if the record leaves it as it was. */
export function statusAfter({ kind, payload }: RunRecord): RunStatus | null {
  if (kind === 'run_end') return payload.status
  if (kind === 'run_queued') return 'queued'
  if (kind === 'human_check_required' || kind === 'approval_required') return 'awaiting_human'
  if (kind === 'run_paused') return 'paused'
  return BESIDE_WORK.has(kind) ? null : 'running'
}
