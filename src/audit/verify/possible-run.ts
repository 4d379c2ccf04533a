import type { SubagentEnd } from '../../domain/subagents.ts'
import { mayBeSame } from '../../domain/texts.ts'
import type { Logged, RecordMeta } from '../../log/chain.ts'
import type { PayloadOf, ReadRecord } from './read-record.ts'
import {
  answerCall,
  answerHuman,
  askAboutCall,
  askHuman,
  Impossible,
  isWaiting,
  must,
  openSubagents,
  type Phase,
  type Subagent,
  startedBy,
  subagentCalls,
  type VerifiedRun,
} from './verified-run.ts'

/**
 * Whether a run can have this record next, and what is known after it. A test compares this with what src/domain decides
 * and folds.
 * @throws Impossible
 */
export function advance(run: VerifiedRun | null, logged: Logged<ReadRecord>): VerifiedRun {
  const { record, meta } = logged
  const { kind } = record
  if (run === null) {
    must(kind === 'run_created', `a run begins with run_created, not ${kind}`)
    return begin(record, meta)
  }
  must(run.phase.type !== 'ended' || AFTER_END.has(kind), `${kind} comes after run_end`)
  const mayCome = !isWaiting(run) || WHILE_WAITING.has(kind)
  must(mayCome, `${kind} comes before the answer to the open question`)
  const { seq } = logged
  const after = { ...run, ...change(run, record, meta), seq, head: meta.hash, lastKind: kind }
  if (!isWaiting(after)) return { ...after, question: null }
  return { ...after, question: (kind === 'run_paused' ? null : run.question) ?? meta.hash }
}

const AFTER_END: ReadonlySet<string> = new Set([
  ...(['changes_applied', 'files_rolled_back', 'copy_discarded'] as const),
])

/** While a run waits for a person, only they, claims, and late reports of commands add to it, or it ends. */
const WHILE_WAITING: ReadonlySet<string> = new Set([
  ...['human_check_response', 'approval_response', 'run_claimed', 'run_config_changed'],
  ...['user_message', 'network_connection', 'guard_changed', 'run_queued', 'error', 'run_end'],
  ...['run_resumed', 'run_paused', ...AFTER_END],
])

function begin(
  { kind, run_id, payload }: ReadRecord & { readonly kind: 'run_created' },
  { hash, principal }: RecordMeta,
): VerifiedRun {
  const { config, server_approvals: server = [], isolation = null, parent = null } = payload
  const { approvals: run = [], max_turns_per_iteration: turns } = config
  const rules = run.length + server.length === 0 ? null : { run, server, lifted: [] }
  return {
    ...{ runId: run_id, seq: 0, head: hash, lastKind: kind, starter: principal ?? null },
    ...{ isolation, parent, rules, question: null },
    isStrict: turns !== undefined || rules !== null,
    phase: WORKING,
    subagents: [],
  }
}

const WORKING: Phase = { type: 'working' }

function change(run: VerifiedRun, record: ReadRecord, meta: RecordMeta): Partial<VerifiedRun> {
  switch (record.kind) {
    case 'run_created':
      throw new Impossible('run_created comes after another record')
    case 'step_start':
      return { phase: record.payload.node === 'act' ? acting(run) : WORKING }
    case 'assistant_message':
      return { phase: { type: 'replied', calls: record.payload.tool_calls } }
    case 'tool_call':
      return { phase: openCall(run, record.payload) }
    case 'tool_result':
      return closeCall(run, record.payload)
    case 'subagent_started':
      return { subagents: startSubagent(run, record.payload) }
    case 'human_check_required':
    case 'run_paused':
      return askHuman(run, record.kind)
    case 'human_check_response':
    case 'run_resumed':
      return answerHuman(run, record)
    case 'approval_required':
      return askAboutCall(run, record.payload)
    case 'approval_response':
      return answerCall(run, record.payload, meta.principal)
    case 'run_end':
      return end(run, record.payload)
    case 'llm_retry':
    case 'context_compacted':
    case 'goal_check':
    case 'final_check':
    case 'iteration_complete':
    case 'error':
    case 'run_ending':
    case 'run_summary':
      return { phase: WORKING }
    default:
      return {}
  }
}

const acting = ({ phase }: VerifiedRun): Phase => ({
  ...{ type: 'acting', pending: phase.type === 'replied' ? phase.calls : [], open: null },
})

/** The next call of the reply begins, as the model requested it. */
function openCall({ phase, isStrict }: VerifiedRun, payload: PayloadOf<'tool_call'>): Phase {
  const { read_only: _, ...call } = payload
  const next = phase.type === 'acting' ? phase.pending[0] : undefined
  const isNext = phase.type === 'acting' && phase.open === null && next?.call_id === call.call_id
  must(isNext, `tool_call ${call.call_id} is not the next call of its turn`)
  const isSame = call.tool === next.tool && (!isStrict || mayBeSame(call, next))
  must(isSame, `tool_call ${call.call_id} is not the call that the model requested`)
  return { ...phase, pending: phase.pending.slice(1), open: call }
}

/** The open call has its result. */
function closeCall(run: VerifiedRun, result: PayloadOf<'tool_result'>): Partial<VerifiedRun> {
  const { phase } = run
  const { call_id, tool, outcome, subagent } = result
  const isOfOpen = phase.type === 'acting' && phase.open?.call_id === call_id
  must(isOfOpen, `tool_result ${call_id} belongs to no open call`)
  must(tool === phase.open.tool, `tool_result ${call_id} is of ${tool}, not ${phase.open.tool}`)
  if (phase.decision === 'deny' || outcome === 'denied') checkDenied(run, phase.decision, result)
  const closed = { phase: { type: 'acting', pending: phase.pending, open: null } } as const
  if (subagent === undefined) return closed
  checkSubagent(run, subagent, result)
  const subagents = run.subagents.map((each) =>
    each.run_id === subagent.run_id ? { ...each, end: subagent } : each,
  )
  return { ...closed, subagents }
}

/** A call that a person or a rule denied has a result, and did nothing. */
function checkDenied(
  { rules }: VerifiedRun,
  decision: 'allow' | 'deny' | undefined,
  { call_id, outcome, exit_code, duration_ms, folder, subagent }: PayloadOf<'tool_result'>,
): void {
  const result = `tool_result ${call_id} is ${outcome}`
  must(outcome === 'denied', `${result}, and a person denied the call`)
  const mayBeDenied = decision === 'deny' || (decision === undefined && rules !== null)
  must(mayBeDenied, `${result}, and no rule or person denied the call`)
  const ran = exit_code !== null || duration_ms !== 0
  const hasMore = folder !== undefined || subagent !== undefined
  must(!ran && !hasMore, `${result}, and says that the call ran`)
}

/** A result holds the end of the sub-agent that its call has started, and its outcome follows from that. */
function checkSubagent(
  run: VerifiedRun,
  { run_id, status }: SubagentEnd,
  { call_id, outcome }: PayloadOf<'tool_result'>,
): void {
  const isOwn = startedBy(run, call_id)?.run_id === run_id
  must(isOwn, `tool_result ${call_id} is about a run that the call has not started`)
  const ofEnded = status === 'running' ? [] : [status === 'achieved' ? 'ok' : 'error']
  const isPossible = ['aborted', ...ofEnded].includes(outcome)
  must(isPossible, `tool_result ${call_id} is ${outcome}, and its sub-agent is ${status}`)
}

/** A call that is open, or works beside the open one, starts one run that this one does not know yet. */
function startSubagent(
  run: VerifiedRun,
  { run_id, call_id }: PayloadOf<'subagent_started'>,
): readonly Subagent[] {
  const { runId, parent, subagents } = run
  const isAtWork = subagentCalls(run).some((call) => call.call_id === call_id)
  const mayStart = isAtWork && startedBy(run, call_id) === undefined
  must(mayStart, `subagent_started ${run_id} belongs to no call that may start a run`)
  const known = [runId, parent?.run_id, ...subagents.map((each) => each.run_id)]
  must(!known.includes(run_id), `subagent_started ${run_id} names a run that exists already`)
  return [...subagents, { run_id, call_id, end: null }]
}

/** A run that ends names the sub-agents that must end with it. */
function end(
  run: VerifiedRun,
  { status, subagents = [] }: PayloadOf<'run_end'>,
): Partial<VerifiedRun> {
  const open = openSubagents(run).map(({ run_id }) => run_id)
  const [named, left] = [subagents.join(', ') || 'none', open.join(', ') || 'none']
  const isSame = open.join() === subagents.join()
  must(isSame, `run_end names the sub-agents ${named}, but ${left} have not ended`)
  return { phase: { type: 'ended', status } }
}
