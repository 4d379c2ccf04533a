import * as z from 'zod'
import { IsolationDifference, IsolationPolicy } from '../../domain/isolation.ts'
import { Origin, Parent, SubagentEnd } from '../../domain/related-runs.ts'

/**
 * What verification reads of the payloads of records, by kind. The hash covers all of a payload, so what is not read
 * here cannot have changed either.
 */
const count = z.int().nonnegative()
const calls = {
  call_id: z.string(),
  tool: z.string(),
  args: z.record(z.string(), z.unknown()),
  raw_args: z.string().exactOptional(),
}
const Call = z.strictObject(calls)
/** A tool call as the model requested it. */
export type Call = z.infer<typeof Call>

const Rule = z.looseObject({ action: z.string(), by: z.string().exactOptional() })
/** A rule for calls, as it is written. */
export type Rule = z.infer<typeof Rule>
const RuleName = z.strictObject({ of: z.enum(['run', 'server', 'tool']), index: count })
/** A rule by its place: of the run, of the server, or of the tool itself. */
export type RuleName = z.infer<typeof RuleName>

const Anything = z.looseObject({})
/** What the last record says of the goal. */
const RecordedVerdict = z.looseObject({
  as_is: z.string(),
  original_checks: z.string().nullable(),
  accept: z.string().nullable(),
  dependencies: z.string().nullable(),
  tampering: z.array(z.looseObject({ path: z.string(), change: z.string() })),
})
export type RecordedVerdict = z.infer<typeof RecordedVerdict>
const ListArtifact = z.looseObject({ count, sha256: z.string() })
/** Nothing is read of these. */
const OTHERS = [
  'run_claimed',
  'run_queued',
  'run_config_changed',
  'project_context',
  'llm_usage',
  'step_start',
  'mcp_tools_listed',
  'user_message',
  'llm_retry',
  'network_connection',
  'guard_changed',
  'iteration_complete',
  'human_check_required',
  'agent_stuck',
  'context_compacted',
  'error',
  'run_ending',
  'run_summary',
  'final_check',
  'run_paused',
  'run_resumed',
  'project_copied',
  'changes_applied',
  'files_rolled_back',
  'copy_discarded',
] as const
const payloads = {
  ...(Object.fromEntries(OTHERS.map((kind) => [kind, Anything])) as Record<
    (typeof OTHERS)[number],
    typeof Anything
  >),
  run_created: z.looseObject({
    config: z.looseObject({
      max_turns_per_iteration: count.exactOptional(),
      approvals: z.array(Rule).exactOptional(),
      accept: z.looseObject({ sha256: z.string() }).exactOptional(),
    }),
    server_approvals: z.array(Rule).exactOptional(),
    isolation: IsolationPolicy.exactOptional(),
    parent: Parent.exactOptional(),
    origin: Origin.exactOptional(),
  }),
  assistant_message: z.looseObject({ tool_calls: z.array(Call) }),
  tool_call: z.strictObject({ ...calls, read_only: z.boolean() }),
  tool_result: z.looseObject({
    call_id: z.string(),
    tool: z.string(),
    outcome: z.string(),
    exit_code: z.int().nullable(),
    duration_ms: count,
    sha256: z.string().nullable(),
    folder: z.string().exactOptional(),
    isolation: IsolationDifference.exactOptional(),
    subagent: SubagentEnd.exactOptional(),
  }),
  snapshot: z.looseObject({
    tree: z.string(),
    packs: z.array(z.looseObject({ sha256: z.string(), bytes: count })),
    unkept: Anything.exactOptional(),
    left_out: z.union([z.array(Anything), ListArtifact]),
    protected: ListArtifact.exactOptional(),
  }),
  left_out_hashed: z.looseObject({
    entries: z.union([z.array(Anything), ListArtifact]),
  }),
  subagent_started: z.looseObject({ call_id: z.string(), run_id: z.string(), config: Anything }),
  goal_check: z.looseObject({
    isolation: IsolationDifference.exactOptional(),
    named_tests: z.string().exactOptional(),
  }),
  human_check_response: z.looseObject({
    decision: z.enum(['approve', 'abort']),
    answers: count,
    shown_sha256: z.string().exactOptional(),
  }),
  run_resumed: z.looseObject({ answers: count, shown_sha256: z.string().exactOptional() }),
  approval_required: z.looseObject({
    call_id: z.string(),
    tool: z.string(),
    call_sha256: z.string(),
    rule: RuleName,
    content: Rule,
  }),
  approval_response: z.looseObject({
    decision: z.enum(['allow', 'deny']),
    answers: count,
    call_id: z.string(),
    call_sha256: z.string(),
    lifts_rule: z.literal(true).exactOptional(),
    shown_sha256: z.string().exactOptional(),
  }),
  run_end: z.looseObject({
    status: z.string(),
    subagents: z.array(z.string()).exactOptional(),
    verdict: RecordedVerdict.exactOptional(),
  }),
} as const

type Kind = keyof typeof payloads
/** The payload of a kind, as far as it is read. */
export type PayloadOf<K extends Kind> = z.infer<(typeof payloads)[K]>

const variant = <K extends Kind>(kind: K) =>
  z.strictObject({
    kind: z.literal(kind),
    run_id: z.uuid(),
    iteration: count,
    /** Seconds since the epoch, up to the end of the year 9999. */
    ts: z.number().nonnegative().max(253_402_300_799),
    payload: payloads[kind],
  })

/** A record of a run, as far as it is read. */
export type ReadRecord = {
  [K in Kind]: {
    readonly kind: K
    readonly run_id: string
    readonly ts: number
    readonly payload: PayloadOf<K>
  }
}[Kind]

const variants = (Object.keys(payloads) as Kind[]).map((kind) => variant(kind))
export const ReadRecord = z.discriminatedUnion(
  'kind',
  // map() loses the tuple type that discriminatedUnion expects.
  variants as unknown as [(typeof variants)[number]],
) as unknown as z.ZodType<ReadRecord>
