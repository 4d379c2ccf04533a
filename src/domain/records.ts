import * as z from 'zod'
import { ApprovalRule, ApprovalRules, RuleName } from './approvals/rules.ts'
import { ChangesApplied, FilesRolledBack, ProjectCopied } from './carried-files.ts'
import { Json, Sha256 } from './fields.ts'
import { IsolationDifference, IsolationPolicy, KilledBy } from './isolation.ts'
import { McpToolsListed } from './mcp-tools.ts'
import { Network } from './network.ts'
import { PausedBy } from './pause.ts'
import { Origin, Parent, SubagentEnd, TakenOver } from './related-runs.ts'
import { ConfigChanges, Effort, ProjectFolder, RunConfig } from './run-config.ts'
import { LeftOutHashed, MOST_NAMED, Snapshot, Tampered } from './snapshots.ts'
import { FinalCheck, RunVerdict, Verdict } from './verdict.ts'

const count = z.int().nonnegative()
/** US dollars; null if the price of the model is not known. */
const cost = z.number().nonnegative().nullable()
const args = z.record(z.string(), Json)

/** A tool call as the model requested it. `raw_args` holds the arguments if they are not a JSON object. */
export const RequestedCall = z
  .strictObject({ call_id: z.string(), tool: z.string(), args, raw_args: z.string().optional() })
  .readonly()
export type RequestedCall = z.infer<typeof RequestedCall>

/**
 * The items of one reply as its provider sent them: reasoning with its signatures, messages and calls. They go back only
 * to the same provider, API and model, and only while none of their text is masked or redacted.
 */
export const ProviderItems = z
  .strictObject({
    provider: z.string(),
    /** The wire API: `chat`, `responses`, `messages`, … */
    api: z.string(),
    /** The model's name at that provider. */
    model: z.string(),
    items: z.array(Json),
  })
  .readonly()
export type ProviderItems = z.infer<typeof ProviderItems>

/** Why an attempt to get a reply failed, as far as the next attempt depends on it. */
export const FailureKind = z.enum([
  'unreachable',
  'broken_off',
  'timed_out',
  'silent',
  'rate_limited',
  'overloaded',
  'server_error',
  'invalid_reply',
  'context_overflow',
  'reasoning_refused',
  'refused',
])
export type FailureKind = z.infer<typeof FailureKind>

/**
 * How a tool call ended: `ok` and `error` as the tool reports it, `rejected` before it ran (unknown tool, bad
 * arguments), `denied` by a rule or a person before it ran, `not_isolated` if its command was refused because it could not be isolated as it must be, `timed_out`,
 * `aborted` with its run, `unknown` if the server stopped during the call.
 */
export const ToolOutcome = z.enum([
  'ok',
  'error',
  'rejected',
  'denied',
  'not_isolated',
  'timed_out',
  'aborted',
  'unknown',
])

export const IMAGE_TYPES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'] as const
export type ImageType = (typeof IMAGE_TYPES)[number]

/** An image in the result of a call: the artifact of its result holds it. Width and height are in pixels. */
export const ResultImage = z
  .strictObject({ media_type: z.enum(IMAGE_TYPES), width: count, height: count })
  .readonly()
export type ResultImage = z.infer<typeof ResultImage>

/** The protocol of a connection in the whole network. */
const Protocol = z.enum(['tcp', 'udp', 'icmp'])

/** The idempotency key of a request, and the SHA-256 (hex) of the request in canonical form. */
export const Idempotency = z
  .strictObject({ key: z.string(), request_sha256: z.string() })
  .readonly()
export type Idempotency = z.infer<typeof Idempotency>

export const MAX_POOL_NAME = 100

/** The name of a pool: of the servers that have the same projects and models. */
export const PoolName = z
  .string()
  .regex(
    new RegExp(`^[\\w.:-]{1,${MAX_POOL_NAME}}$`),
    `must have 1 to ${MAX_POOL_NAME} letters, digits, or . _ : -`,
  )

/**
 * The last record that a person had seen, as their client reported it and compared with the log. Its hash commits to
 * all records up to it.
 */
export const Seen = z.strictObject({ seq: count, hash: Sha256 }).readonly()
export type Seen = z.infer<typeof Seen>

export const Decision = z.enum(['approve', 'abort'])
export type Decision = z.infer<typeof Decision>

/** The answer to the question whether a call may begin. */
export const CallDecision = z.enum(['allow', 'deny'])
export type CallDecision = z.infer<typeof CallDecision>

export const EndStatus = z.enum(['achieved', 'failed', 'aborted'])
export type EndStatus = z.infer<typeof EndStatus>

/** The model that a run asked until now, and the one that it asks from now on. */
export const Fallback = z.strictObject({ from: z.string(), to: z.string() }).readonly()
export type Fallback = z.infer<typeof Fallback>
/** What of its project an agent is shown before its first reply. */
export const ProjectContext = z
  .strictObject({
    /** AGENTS.md, or CLAUDE.md, of each folder from the root of the repository to the project, in this order. */
    documents: z.array(
      z.strictObject({
        /** Relative to the root of the repository. */
        path: z.string(),
        /** Shortened if `truncated`. `sha256` and `bytes` are of the whole text, with secrets masked. */
        text: z.string(),
        sha256: Sha256,
        bytes: count,
        truncated: z.boolean(),
      }),
    ),
    /** Files of the project, the state of its repository, and the programs that commands find; null if not known. */
    files: z.string().nullable(),
    git: z.string().nullable(),
    programs: z.string().nullable(),
    /** Keys of the project's `.retrai.yml` that have no effect, which the agent is not shown; left out if there are none. */
    ignored_keys: z.array(z.string()).exactOptional(),
  })
  .readonly()
export type ProjectContext = z.infer<typeof ProjectContext>

/** How an agent makes no progress, and what was done about it. */
export const Stuck = z.strictObject({
  /** `malformed`, `empty`, `cut` and `refused` are replies that are not whole. Earlier versions had `alternating` and `failing`. */
  pattern: z.enum([
    'repeating',
    'alternating',
    'circling',
    'barren',
    'failing',
    'idle',
    'malformed',
    'empty',
    'cut',
    'refused',
  ]),
  /** How many turns in a row show it. */
  times: count,
  /** `reflection`: the model is asked for another approach. */
  action: z.enum(['hint', 'reflection', 'end']),
  message: z.string(),
})
export type Stuck = z.infer<typeof Stuck>

/** Payload shapes by kind. A field that is not named here is refused. */
const payloads = {
  run_created: z.strictObject({
    config: RunConfig,
    system_prompt: z.string(),
    /** Why the run was started, if the person gave a reason. */
    reason: z.string().exactOptional(),
    idempotency: Idempotency.exactOptional(),
    /** What a person wants of the agent, beside the goal. */
    instructions: z.string().exactOptional(),
    /** How the commands of the run are isolated. Records of earlier versions do not have it. */
    isolation: IsolationPolicy.exactOptional(),
    /** The folder that commands and file tools get, or refuse to work. Records of earlier versions do not have it. */
    project: ProjectFolder.exactOptional(),
    /** The servers that may work on the run; without one, every server of the log may. */
    pool: PoolName.exactOptional(),
    /** Rules of the server for calls of every run. Those of the run are in its configuration. */
    server_approvals: ApprovalRules.exactOptional(),
    /**
     * How much models think that would not think without being asked, if the configuration does not say it. Runs of earlier
     * versions do not have it: for them, nothing changes in the middle.
     */
    default_effort: Effort.exactOptional(),
    /** Set if the agent of another run started it. */
    parent: Parent.exactOptional(),
    /** Set if it begins from another run: its conversation begins with that of the other up to there. */
    origin: Origin.exactOptional(),
    taken_over: TakenOver.exactOptional(),
    /** The folder that it works in a copy of. `config.cwd` is where the copy is; `project_copied` says that it was made. */
    copy_of: ProjectFolder.exactOptional(),
  }),
  run_claimed: z.strictObject({
    claimant: z.string(),
    pid: count,
    host: z.string(),
    /** Set if the process that held the run crashed: it is known to be gone, and was not stopped. */
    after_crash: z.literal(true).exactOptional(),
    /** Set if the process that held the run was silent for too long. It may be alive, and cut off from the log. */
    after: z.literal('lease_expired').exactOptional(),
  }),
  /** The copy of a run that works in one was made. Until then, nothing else of the run begins. */
  project_copied: ProjectCopied,
  /** The run waits until a person lets it continue, by raising the limit or with `resume`. */
  run_paused: z.strictObject({
    by: PausedBy,
    /** A sentence for people. */
    reason: z.string(),
  }),
  /** It continues exactly where it was paused. */
  run_resumed: z.strictObject({
    reason: z.string().nullable(),
    /** seq of the run_paused that this ends. */
    answers: count,
    shown_sha256: Sha256.exactOptional(),
    seen: Seen.exactOptional(),
  }),
  /** What the run did in its copy was carried over. May come after `run_end`. */
  changes_applied: z.strictObject({ ...ChangesApplied.shape, seen: Seen.exactOptional() }),
  /** Files of the project are what they were at an earlier snapshot. May come after `run_end`. */
  files_rolled_back: z.strictObject({ ...FilesRolledBack.shape, seen: Seen.exactOptional() }),
  /** The copy that the run worked in was removed. Comes after `run_end`. */
  copy_discarded: z.strictObject({ reason: z.string().nullable(), seen: Seen.exactOptional() }),
  /** No server can work on the run now. It stays queued until a server claims it, or its own continues. */
  run_queued: z.strictObject({ reason: z.string() }),
  run_config_changed: z.strictObject({
    changes: ConfigChanges,
    reason: z.string().exactOptional(),
    seen: Seen.exactOptional(),
  }),
  step_start: z.strictObject({ node: z.enum(['plan', 'act', 'evaluate', 'human_check']) }),
  llm_usage: z.strictObject({
    input_tokens: count,
    output_tokens: count,
    cost_usd: cost,
    model_name: z.string(),
    duration_ms: count,
    /** Turns of the conversation that were left out of the request to keep it within its budget. */
    omitted_turns: count,
    /** Parts of `input_tokens`: read from the provider's cache, and written to it. Null if it reports none. */
    cached_tokens: count.nullable().exactOptional(),
    cache_write_tokens: count.nullable().exactOptional(),
    /** The part of `output_tokens` that the model used for reasoning; null if it is not reported. */
    reasoning_tokens: count.nullable().exactOptional(),
    /** From the request to the first part of the reply; null if the reply did not come in parts. */
    first_token_ms: count.nullable().exactOptional(),
    provider: z.string().exactOptional(),
    /** How `cost_usd` was made: `catalogue`, `provider` (its own figure), …; null if there is no price. */
    price_source: z.string().nullable().exactOptional(),
    /** What was asked for, if it is not the next reply. */
    purpose: z.enum(['compaction', 'summary']).exactOptional(),
    /** The provider reported no tokens, so these were estimated from the lengths of the texts. */
    estimated: z.literal(true).exactOptional(),
    /** How many images the request held; left out if none. */
    images: count.exactOptional(),
    /** The request held what people have said in the turns that it left out, and the last check. Requests of earlier versions did not. */
    kept_words: z.literal(true).exactOptional(),
  }),
  /** Read once, between the first check of the goal and the first iteration. */
  project_context: ProjectContext.unwrap(),
  /** Before the first reply, and whenever a server lists other tools or cannot be used. */
  mcp_tools_listed: McpToolsListed.unwrap(),
  /** What a person says to the agent while the run works. The next request to the model holds it. */
  user_message: z.strictObject({
    text: z.string(),
    idempotency: Idempotency.exactOptional(),
    seen: Seen.exactOptional(),
  }),
  llm_retry: z.strictObject({
    /** Of the model in use in this step; in records of earlier versions, of all models. */
    attempt: z.int().positive(),
    reason: z.string(),
    delay_ms: count,
    failure: FailureKind.exactOptional(),
    /** Set if all attempts with a model have failed: from now on, the run asks another one. */
    fallback: Fallback.exactOptional(),
    /** Set if the request did not fit: from now on, requests have at most this many tokens, as the server estimates. */
    context_tokens: count.exactOptional(),
  }),
  assistant_message: z.strictObject({
    text: z.string().nullable(),
    tool_calls: z.array(RequestedCall),
    finish_reason: z.string(),
    /** What the model is asked to know about this reply: that it was cut off, refused, empty, … */
    notice: z.string().exactOptional(),
    provider_items: ProviderItems.exactOptional(),
    /** As in `llm_retry`, if the reply was cut off because the conversation filled the model's context window. */
    context_tokens: count.exactOptional(),
    /** How many messages of people (`user_message`) the request for this reply held; left out if none. */
    user_messages: count.exactOptional(),
  }),
  tool_call: z.strictObject({
    call_id: z.string(),
    tool: z.string(),
    args,
    raw_args: z.string().optional(),
    /** Whether the tool only reads: such a call may be run again after a crash. */
    read_only: z.boolean(),
  }),
  tool_result: z.strictObject({
    call_id: z.string(),
    tool: z.string(),
    output: z.string(),
    exit_code: z.int().nullable(),
    outcome: ToolOutcome,
    duration_ms: count,
    /** The size of the whole output. If `output` holds only head and tail, `sha256` names the artifact. */
    bytes: count,
    truncated: z.boolean(),
    sha256: z.string().nullable(),
    /** What ended its command, if the command did not end by itself; `abort` for every call that its run was aborted in. */
    killed_by: KilledBy.exactOptional(),
    /** Where its commands were isolated in another way than `run_created` says. */
    isolation: IsolationDifference.exactOptional(),
    /** Where the next `bash_exec` starts, as a path from the project; left out if that stays as it was: at first, `.`. */
    folder: z.string().exactOptional(),
    /** Set if the call was to wait for the run of a sub-agent, and that has ended. */
    subagent: SubagentEnd.exactOptional(),
    /** Set if the result holds an image: then `sha256` names it, and `output` says what it is. */
    image: ResultImage.exactOptional(),
  }),
  /** The agent starts another run. It is recorded before that run exists, so a crash neither loses nor doubles it. */
  subagent_started: z.strictObject({ call_id: z.string(), run_id: z.string(), config: RunConfig }),
  goal_check: z.strictObject({
    achieved: z.boolean(),
    reason: z.string(),
    /** What the check printed, shortened; the model reads it. */
    details: z.string(),
    duration_ms: count,
    killed_by: KilledBy.exactOptional(),
    isolation: IsolationDifference.exactOptional(),
    /** Records of earlier versions have only `achieved`. */
    verdict: Verdict.exactOptional(),
    /** How many tests it reported: passed, failed and skipped. */
    tests: count.exactOptional(),
    /** Protected files that are not what they were when the run began, in order; left out if there are none. */
    tampering: z.array(Tampered).max(MOST_NAMED).readonly().exactOptional(),
    /** Of the first check whose report names the tests that ran: the artifact with their names, a list as JSON. */
    named_tests: Sha256.exactOptional(),
    /** Tests that the first such check named, and this one does not. */
    vanished: z.array(z.string()).max(MOST_NAMED).readonly().exactOptional(),
  }),
  /**
   * A connection of a command: through the proxy, when it has ended or was refused; if its run has the whole network,
   * when it began, with an address.
   */
  network_connection: z.strictObject({
    /** The tool call of the command; null if it belongs to the check of the goal. */
    call_id: z.string().nullable(),
    /** As the command wrote it, or an address; `*` if the record is the sum of more than one. */
    host: z.string(),
    port: count,
    /** Whether the run may reach the host. */
    allowed: z.boolean(),
    /** Why it was refused or failed; null if it ended by itself. */
    reason: z.string().nullable(),
    /** From the host to the command; null if that is known only for all connections of the command together. */
    bytes_in: count.nullable(),
    bytes_out: count.nullable(),
    /** If the run has the whole network. */
    protocol: Protocol.exactOptional(),
    /** How many connections this record sums up, if more than one. */
    connections: count.exactOptional(),
  }),
  /** A file that git or this server obeys later appeared, changed or went away while a command ran. */
  guard_changed: z.strictObject({
    /** The tool call of the command; null if it belongs to the check of the goal. */
    call_id: z.string().nullable(),
    /** From the project's folder, such as `.git/hooks/pre-commit`. */
    path: z.string(),
    /** The hash of its content, or of where a link leads; null if it is gone, too large or not a file. */
    sha256: Sha256.nullable(),
  }),
  /** After a check that found the goal reached: whether that holds with the files of the start, and by what the agent does not see. */
  final_check: FinalCheck,
  /** The files of the project: before the first step, and after each step in which they changed. */
  snapshot: Snapshot,
  /** Once in a run, before its first call that may write begins, if there is anything that snapshots leave out unread. */
  left_out_hashed: LeftOutHashed,
  iteration_complete: z.strictObject({ iteration: count, tokens: count, cost_usd: cost }),
  human_check_required: z.strictObject({ iteration: count, summary: z.string() }),
  human_check_response: z.strictObject({
    decision: Decision,
    reason: z.string().nullable(),
    /** seq of the human_check_required that this answers. */
    answers: count,
    /** Hash of that record. It commits to everything that led to the question. */
    shown_sha256: Sha256.exactOptional(),
    seen: Seen.exactOptional(),
  }),
  /** The next call of the reply does not begin before a person allows it. */
  approval_required: z.strictObject({
    call_id: z.string(),
    tool: z.string(),
    /** The hash of the canonical form (RFC 8785) of the call, as `assistant_message` has it. */
    call_sha256: z.string(),
    rule: RuleName,
    /** The rule as it is written. */
    content: ApprovalRule,
    /** Why the rule holds although that is not certain. */
    doubt: z.string().exactOptional(),
    /** What the commands of the run reach from then on if the call is allowed; left out if that stays as it is. */
    network: Network.exactOptional(),
  }),
  approval_response: z.strictObject({
    decision: CallDecision,
    reason: z.string().nullable(),
    /** seq of the approval_required that this answers. */
    answers: count,
    call_id: z.string(),
    call_sha256: z.string(),
    /** The rule no longer asks in this run. */
    lifts_rule: z.literal(true).exactOptional(),
    /** As in `human_check_response`. */
    shown_sha256: Sha256.exactOptional(),
    seen: Seen.exactOptional(),
  }),
  /** The first turns of the conversation are left out of all later requests; a summary comes in their place. */
  context_compacted: z.strictObject({
    /** How many turns, with those taken over, and the seq of the last reply among them; 0 if that was taken over. */
    turns: count,
    up_to: count,
    /** Only the outputs of their calls are left out, which is tried first: then there is no summary. */
    outputs_only: z.literal(true).exactOptional(),
    /** Null if the model could not be asked for one; then `failure` says why. */
    summary: z.string().nullable(),
    failure: z.string().exactOptional(),
    model_name: z.string(),
    cost_usd: cost,
    /** The tokens of the next request without and with this, as the server estimates them. */
    tokens_before: count,
    tokens_after: count,
  }),
  /** The agent makes no progress. The model reads the message, or the run ends with it. */
  agent_stuck: Stuck,
  error: z.strictObject({ message: z.string(), traceback: z.string() }),
  /** The run ends for this reason, without its goal. A summary for people comes before `run_end`. */
  run_ending: z.strictObject({ reason: z.string() }),
  run_summary: z.strictObject({
    text: z.string(),
    /** `log`: put together from the records, because the model was not asked or did not answer; `failure` says why. */
    source: z.enum(['model', 'log']),
    failure: z.string().exactOptional(),
  }),
  run_end: z.strictObject({
    achieved: z.boolean(),
    iterations: count,
    total_tokens: count,
    estimated_cost_usd: cost,
    status: EndStatus,
    reason: z.string(),
    /** What the person who aborted the run had seen. */
    seen: Seen.exactOptional(),
    /** Runs of earlier versions have none. */
    verdict: RunVerdict.exactOptional(),
    /** The runs of sub-agents that had not ended: they are aborted after this record. */
    subagents: z.array(z.string()).readonly().exactOptional(),
  }),
} as const

export type Kind = keyof typeof payloads
export type PayloadOf<K extends Kind> = z.infer<(typeof payloads)[K]>

/**
 * One thing that happened in a run. `ts` is in seconds since the epoch with a fraction; `iteration`
 * counts from 1 and is 0 for what happens before the first. Its seq is the revision of the stream.
 */
export type RecordOf<K extends Kind> = {
  [P in K]: {
    readonly kind: P
    readonly run_id: string
    readonly iteration: number
    readonly ts: number
    readonly payload: PayloadOf<P>
  }
}[K]
export type RunRecord = RecordOf<Kind>

/** What a command did that its run records beside the result. It belongs to the call under way, if it names no other. */
export type Notice = {
  [K in 'network_connection' | 'guard_changed']: {
    readonly kind: K
    readonly payload: Omit<PayloadOf<K>, 'call_id'> & { readonly call_id?: string }
  }
}['network_connection' | 'guard_changed']

/** The ten kinds of the public API. Clients get the other kinds only if they ask for them. */
export const DOCUMENTED_KINDS = [
  'step_start',
  'tool_call',
  'tool_result',
  'llm_usage',
  'goal_check',
  'human_check_required',
  'human_check_response',
  'iteration_complete',
  'run_end',
  'error',
] as const satisfies readonly Kind[]

export const ALL_KINDS = Object.keys(payloads) as readonly Kind[]

const variant = <K extends Kind>(kind: K) =>
  z.strictObject({
    kind: z.literal(kind),
    run_id: z.uuid(),
    iteration: count,
    /** At most the end of the year 9999: later times have no common notation. */
    ts: z.number().nonnegative().max(253_402_300_799),
    payload: payloads[kind],
  })

const variants = ALL_KINDS.map((kind) => variant(kind))

/** Validates a record of the current schema version, as read from a store. */
export const RunRecord: z.ZodType<RunRecord> = z.discriminatedUnion(
  'kind',
  // map() loses the tuple type that discriminatedUnion expects. The list has every kind by construction.
  variants as unknown as [ReturnType<typeof variant<Kind>>, ...ReturnType<typeof variant<Kind>>[]],
) as unknown as z.ZodType<RunRecord>

/** Payload schemas, for the description of the API. */
export const PAYLOADS: { readonly [K in Kind]: z.ZodType<PayloadOf<K>> } = payloads as never
