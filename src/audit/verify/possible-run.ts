import type { IsolationPolicy } from '../../domain/isolation.ts'
import type { Parent } from '../../domain/related-runs.ts'
import { mayBeSame, REDACTED } from '../../domain/texts.ts'
import type { Logged, RecordMeta } from '../../log/chain.ts'
import { hashOfCall } from '../../log/commitment.ts'
import type { Call, PayloadOf, ReadRecord, Rule, RuleName } from './read-record.ts'

type Decision = 'allow' | 'deny'

/** What a person is asked. */
type Question = {
  readonly kind: 'human_check_required' | 'run_paused' | 'approval_required'
  readonly seq: number
  readonly hash: string
  /** If it is about a call: the hash of that, and the rule that asks. */
  readonly about?: { readonly callSha256: string; readonly rule: RuleName; readonly content: Rule }
}

/** A run as far as it is verified. */
export type VerifiedRun = {
  readonly runId: string
  /** The seq, hash and kind of its last record. */
  readonly seq: number
  readonly head: string
  readonly lastKind: string
  /** Who started it; null if nobody is named. */
  readonly starter: string | null
  readonly isolation: IsolationPolicy | null
  readonly parent: Parent | null
  /** Whether calls must be exactly as requested: exports of earlier versions have calls with fewer arguments. */
  readonly isStrict: boolean
  /** The rules for calls; null for a run without rules. Lifted rules ask no more. */
  readonly rules: {
    readonly run: readonly Rule[]
    readonly server: readonly Rule[]
    readonly lifted: readonly RuleName[]
  } | null
  /** The calls of the last reply that have not begun, and the one that has begun and has no result yet. */
  readonly pending: readonly Call[]
  readonly open: Call | null
  /** What a person decided of the first pending call, or of the open one; null if nobody was asked. */
  readonly decision: Decision | null
  readonly question: Question | null
  /** Whether it has ended. */
  readonly ended: boolean
}

/** No run can have this record there. The message is a sentence without its point. */
export class Impossible extends Error {
  override readonly name = 'Impossible'
}

/** @throws Impossible unless that is so */
function must(isSo: boolean, otherwise: string): asserts isSo {
  if (!isSo) throw new Impossible(otherwise)
}

/**
 * Whether a run can have this record next, and what is known after it: that calls are those which the model requested and
 * a person allowed, and that people answered what they were asked. A test compares this with what src/domain decides.
 * @throws Impossible
 */
export function advance(
  run: VerifiedRun | null,
  { seq, record, meta }: Logged<ReadRecord>,
): VerifiedRun {
  const { kind } = record
  if (run === null) {
    must(kind === 'run_created', `a run begins with run_created, not ${kind}`)
    return begin(record, meta)
  }
  must(!run.ended || AFTER_END.has(kind), `${kind} comes after run_end`)
  const mayCome = run.question === null || WHILE_WAITING.has(kind)
  must(mayCome, `${kind} comes before the answer to the open question`)
  return { ...run, ...change(run, record, meta), seq, head: meta.hash, lastKind: kind }
}

const AFTER_END: ReadonlySet<string> = new Set([
  'changes_applied',
  'files_rolled_back',
  'copy_discarded',
])

/** While a run waits for a person, only they, claims, and late reports of commands add to it, or it ends. */
const WHILE_WAITING: ReadonlySet<string> = new Set([
  'human_check_response',
  'approval_response',
  'run_claimed',
  'run_config_changed',
  'user_message',
  'network_connection',
  'guard_changed',
  'run_queued',
  'error',
  'run_end',
  'run_resumed',
  'run_paused',
  ...AFTER_END,
])

function begin(
  { kind, run_id, payload }: ReadRecord & { readonly kind: 'run_created' },
  { hash, principal }: RecordMeta,
): VerifiedRun {
  const { config, server_approvals: server = [], isolation = null, parent = null } = payload
  const { approvals: run = [], max_turns_per_iteration: turns } = config
  const rules = run.length + server.length === 0 ? null : { run, server, lifted: [] }
  return {
    runId: run_id,
    seq: 0,
    head: hash,
    lastKind: kind,
    starter: principal ?? null,
    isolation,
    parent,
    rules,
    question: null,
    ended: false,
    isStrict: turns !== undefined || rules !== null,
    pending: [],
    open: null,
    decision: null,
  }
}

function change(
  run: VerifiedRun,
  record: ReadRecord,
  { hash, principal }: RecordMeta,
): Partial<VerifiedRun> {
  switch (record.kind) {
    case 'run_created':
      throw new Impossible('run_created comes after another record')
    case 'assistant_message':
      return { pending: record.payload.tool_calls, open: null, decision: null }
    case 'tool_call':
      return openCall(run, record.payload)
    case 'tool_result':
      return closeCall(run, record.payload)
    case 'human_check_required':
    case 'run_paused': {
      const { kind } = record
      // Only a pause may follow another one.
      const isPaused = kind === 'run_paused' && run.question?.kind === kind
      must(
        isPaused || run.question === null,
        `${kind} comes before the answer to the open question`,
      )
      return { question: { kind, seq: run.seq + 1, hash } }
    }
    case 'human_check_response':
      return answer(run, record.kind, 'human_check_required', record.payload)
    case 'run_resumed':
      return answer(run, record.kind, 'run_paused', record.payload)
    case 'approval_required':
      return askAboutCall(run, hash, record.payload)
    case 'approval_response':
      return answerCall(run, record.payload, principal)
    case 'error':
      return { question: null }
    case 'run_end':
      return { question: null, ended: true }
    default:
      return {}
  }
}

/** The next call of the reply begins, as the model requested it. */
function openCall(
  { pending, open, isStrict }: VerifiedRun,
  payload: PayloadOf<'tool_call'>,
): Partial<VerifiedRun> {
  const { read_only: _, ...call } = payload
  const [next] = pending
  const isNext = open === null && next?.call_id === call.call_id
  must(isNext, `tool_call ${call.call_id} is not the next call of its turn`)
  const isSame = call.tool === next.tool && (!isStrict || mayBeSame(call, next))
  must(isSame, `tool_call ${call.call_id} is not the call that the model requested`)
  return { pending: pending.slice(1), open: call }
}

/** The open call has its result. One that a person or a rule denied did nothing. */
function closeCall(
  { open, decision, rules }: VerifiedRun,
  { call_id, tool, outcome, exit_code, duration_ms, folder, subagent }: PayloadOf<'tool_result'>,
): Partial<VerifiedRun> {
  must(open?.call_id === call_id, `tool_result ${call_id} belongs to no open call`)
  must(tool === open.tool, `tool_result ${call_id} is of ${tool}, not ${open.tool}`)
  if (decision === 'deny' || outcome === 'denied') {
    const result = `tool_result ${call_id} is ${outcome}`
    must(outcome === 'denied', `${result}, and a person denied the call`)
    const mayBeDenied = decision === 'deny' || (decision === null && rules !== null)
    must(mayBeDenied, `${result}, and no rule or person denied the call`)
    const ran = exit_code !== null || duration_ms !== 0
    const hasMore = folder !== undefined || subagent !== undefined
    must(!ran && !hasMore, `${result}, and says that the call ran`)
  }
  return { open: null, decision: null }
}

function answer(
  { question }: VerifiedRun,
  kind: ReadRecord['kind'],
  asks: Question['kind'],
  { answers, shown_sha256 }: { readonly answers: number; readonly shown_sha256?: string },
): Partial<VerifiedRun> {
  const open = question?.kind === asks ? question.seq : 'none'
  must(open === answers, `${kind} answers record ${answers}, and the open question is ${open}`)
  checkShown(question, shown_sha256)
  return { question: null }
}

/** Records of earlier versions do not name the hash. */
function checkShown(question: Question | null, shown: string | undefined): void {
  const isSame = shown === undefined || shown === question?.hash
  must(isSame, `it names the hash ${shown} of the question, and the question has ${question?.hash}`)
}

/** The tool with which an agent asks for more network. It has a rule of its own, which always asks. */
const NETWORK_TOOL = 'request_network'

/** A person is asked about the next call of the reply, because a rule asks. */
function askAboutCall(
  run: VerifiedRun,
  hash: string,
  { call_id, tool, rule, content, call_sha256: callSha256 }: PayloadOf<'approval_required'>,
): Partial<VerifiedRun> {
  const { pending, open, decision, rules, seq } = run
  const [next] = pending
  const isNext = open === null && next?.call_id === call_id
  must(isNext, `approval_required ${call_id} is not about the next call`)
  const isToReview = (rules !== null || next.tool === NETWORK_TOOL) && decision === null
  must(
    isToReview && tool === next.tool,
    `approval_required ${call_id} is about no call to be reviewed`,
  )
  must(
    content.action === 'ask' && !isLifted(run, rule) && isRule(run, rule, content),
    `approval_required ${call_id} names rule ${rule.index} of the ${rule.of}, which does not ask like that`,
  )
  // After a redaction of the call, nothing can be compared.
  const actual = hashOfCall(next)
  const isSame = mayBeSame(callSha256, actual) || JSON.stringify(next).includes(REDACTED)
  must(isSame, `it names the hash ${callSha256} of the call, and the call has ${actual}`)
  const about = { callSha256, rule, content }
  return { question: { kind: 'approval_required', seq: seq + 1, hash, about } }
}

const isLifted = ({ rules }: VerifiedRun, { of, index }: RuleName): boolean =>
  rules?.lifted.some((each) => each.of === of && each.index === index) === true

const isRule = ({ rules }: VerifiedRun, { of, index }: RuleName, content: Rule): boolean =>
  of === 'tool'
    ? index === 0 && content.tool === NETWORK_TOOL
    : mayBeSame(content, rules?.[of][index])

/** @param principal who answered; undefined if nobody is named */
function answerCall(
  { question, pending, rules, starter }: VerifiedRun,
  payload: PayloadOf<'approval_response'>,
  principal: string | undefined,
): Partial<VerifiedRun> {
  const { decision, answers, call_id, call_sha256, lifts_rule = false, shown_sha256 } = payload
  const response = `approval_response ${call_id}`
  must(question?.about !== undefined, `${response} answers no open question`)
  const { seq, about } = question
  const isAnswer = answers === seq && call_id === pending[0]?.call_id
  must(isAnswer, `${response} answers record ${answers}, and the open question is ${seq}`)
  const { rule, content, callSha256 } = about
  const isSame = mayBeSame(call_sha256, callSha256)
  must(isSame, `${response} is about another call than the question`)
  const mayLift = decision === 'allow' && rule.of === 'run'
  must(mayLift || !lifts_rule, `${response} lifts a rule that stays`)
  checkShown(question, shown_sha256)
  const isStarter = principal === undefined || principal === starter
  must(
    content.by !== 'other_than_starter' || !isStarter,
    'the rule asks for an answer by somebody other than the person who started the run, and no such person answered',
  )
  const lifted = rules && lifts_rule ? { ...rules, lifted: [...rules.lifted, rule] } : rules
  return { rules: lifted, question: null, decision }
}
