import type { IsolationPolicy } from '../../domain/isolation.ts'
import {
  type Parent,
  SUBAGENT_TOOL,
  SUBAGENTS_AT_ONCE,
  type SubagentEnd,
} from '../../domain/subagents.ts'
import { mayBeSame, REDACTED } from '../../domain/texts.ts'
import { hashOfCall } from '../../log/commitment.ts'
import type { Call, PayloadOf, ReadRecord, Rule, RuleName } from './read-record.ts'

/** A run that another one has started. `end` is null until its parent has recorded it. */
export type Subagent = {
  readonly run_id: string
  readonly call_id: string
  readonly end: SubagentEnd | null
}

type Asks = {
  readonly type: 'awaiting_human'
  readonly kind: 'human_check_required' | 'run_paused'
  readonly seq: number
  readonly interrupted: Phase
}

/** Where a run is, as far as that limits which records can come next. */
export type Phase =
  | { readonly type: 'working' }
  /** The model has replied; none of its calls has begun. */
  | { readonly type: 'replied'; readonly calls: readonly Call[] }
  | {
      readonly type: 'acting'
      readonly pending: readonly Call[]
      readonly open: Call | null
      /** What a person decided of the first pending call, or of the open one. */
      readonly decision?: 'allow' | 'deny'
    }
  /** `seq` is that of the question, `kind` its kind. */
  | Asks
  | {
      readonly type: 'awaiting_approval'
      readonly seq: number
      readonly pending: readonly Call[]
      readonly callSha256: string
      readonly rule: RuleName
      readonly content: Rule
    }
  | { readonly type: 'ended'; readonly status: string }

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
  readonly phase: Phase
  /** The hash of the open question; null if the run asks nothing. */
  readonly question: string | null
  readonly subagents: readonly Subagent[]
}

/** No run can have this record there. The message is a sentence without its point. */
export class Impossible extends Error {
  override readonly name = 'Impossible'
}

/** @throws Impossible unless that is so */
export function must(isSo: boolean, otherwise: string): asserts isSo {
  if (!isSo) throw new Impossible(otherwise)
}

export const isWaiting = ({ phase }: VerifiedRun): boolean =>
  phase.type === 'awaiting_human' || phase.type === 'awaiting_approval'

/** The sub-agent that a call has started and that has not ended. */
export const startedBy = ({ subagents }: VerifiedRun, callId: string): Subagent | undefined =>
  subagents.findLast(({ call_id, end }) => call_id === callId && end === null)

/** The open call, if it is one of a sub-agent, and those right after it whose sub-agents work beside it. */
export function subagentCalls({ phase }: VerifiedRun): readonly Call[] {
  const open = phase.type === 'acting' ? phase.open : null
  if (phase.type !== 'acting' || open?.tool !== SUBAGENT_TOOL) return []
  const next = phase.pending.slice(0, SUBAGENTS_AT_ONCE - 1)
  const end = next.findIndex(({ tool }) => tool !== SUBAGENT_TOOL)
  const calls = [open, ...(end === -1 ? next : next.slice(0, end))]
  // Calls with the same id cannot be told apart, so then it is the open one alone.
  return new Set(calls.map(({ call_id }) => call_id)).size === calls.length ? calls : [open]
}

/** Sub-agents that have not ended, as far as their parent has recorded. */
export const openSubagents = ({ subagents }: VerifiedRun): readonly Subagent[] =>
  subagents.filter(({ end }) => end === null || end.status === 'running')

/** The run waits for a person, and then continues with what it was doing. Only a pause may follow another one. */
export function askHuman(run: VerifiedRun, kind: Asks['kind']): Partial<VerifiedRun> {
  const { phase, seq } = run
  const isPaused = phase.type === 'awaiting_human' && phase.kind === kind
  must(isPaused || !isWaiting(run), `${kind} comes before the answer to the open question`)
  const interrupted = isPaused ? phase.interrupted : phase
  return { phase: { type: 'awaiting_human', kind, seq: seq + 1, interrupted } }
}

export function answerHuman(
  run: VerifiedRun,
  { kind, payload }: ReadRecord & { readonly kind: 'human_check_response' | 'run_resumed' },
): Partial<VerifiedRun> {
  const { phase } = run
  const { answers, shown_sha256 } = payload
  const asks = kind === 'run_resumed' ? 'run_paused' : 'human_check_required'
  const open = phase.type === 'awaiting_human' && phase.kind === asks ? phase.seq : null
  const isOpen = phase.type === 'awaiting_human' && open === answers
  must(isOpen, `${kind} answers record ${answers}, and the open question is ${open ?? 'none'}`)
  checkShown(run, shown_sha256)
  const isOver = 'decision' in payload && payload.decision === 'abort'
  return { phase: isOver ? { type: 'working' } : phase.interrupted }
}

/** The tool with which an agent asks for more network. It has a rule of its own, which always asks. */
const NETWORK_TOOL = 'request_network'

/** A person is asked about the next call of the reply, because a rule asks. */
export function askAboutCall(
  run: VerifiedRun,
  { call_id, tool, rule, content, call_sha256: callSha256 }: PayloadOf<'approval_required'>,
): Partial<VerifiedRun> {
  const { phase, rules, seq } = run
  const next = phase.type === 'acting' && phase.open === null ? phase.pending[0] : undefined
  const isNext = phase.type === 'acting' && next?.call_id === call_id
  must(isNext, `approval_required ${call_id} is not about the next call`)
  const isToReview = (rules !== null || next.tool === NETWORK_TOOL) && phase.decision === undefined
  const isNew = startedBy(run, call_id) === undefined && tool === next.tool
  must(isToReview && isNew, `approval_required ${call_id} is about no call to be reviewed`)
  must(
    content.action === 'ask' && !isLifted(run, rule) && isRule(run, rule, content),
    `approval_required ${call_id} names rule ${rule.index} of the ${rule.of}, which does not ask like that`,
  )
  checkCall(next, callSha256)
  const { pending } = phase
  return { phase: { type: 'awaiting_approval', seq: seq + 1, pending, callSha256, rule, content } }
}

const isLifted = ({ rules }: VerifiedRun, { of, index }: RuleName): boolean =>
  rules?.lifted.some((each) => each.of === of && each.index === index) === true

const isRule = ({ rules }: VerifiedRun, { of, index }: RuleName, content: Rule): boolean =>
  of === 'tool'
    ? index === 0 && content.tool === NETWORK_TOOL
    : mayBeSame(content, rules?.[of][index])

/** A person allows or denies a call by its hash. After a redaction of the call, nothing can be compared. */
function checkCall(call: Call, named: string): void {
  const actual = hashOfCall(call)
  const isSame = mayBeSame(named, actual) || JSON.stringify(call).includes(REDACTED)
  must(isSame, `it names the hash ${named} of the call, and the call has ${actual}`)
}

/** @param principal who answered; undefined if nobody is named */
export function answerCall(
  run: VerifiedRun,
  payload: PayloadOf<'approval_response'>,
  principal: string | undefined,
): Partial<VerifiedRun> {
  const { phase, rules } = run
  const { decision, answers, call_id, call_sha256, lifts_rule = false, shown_sha256 } = payload
  const response = `approval_response ${call_id}`
  must(phase.type === 'awaiting_approval', `${response} answers no open question`)
  const { seq, pending, rule, content } = phase
  const isAnswer = answers === seq && call_id === pending[0]?.call_id
  must(isAnswer, `${response} answers record ${answers}, and the open question is ${seq}`)
  const isSame = mayBeSame(call_sha256, phase.callSha256)
  must(isSame, `${response} is about another call than the question`)
  const mayLift = decision === 'allow' && rule.of === 'run'
  must(mayLift || !lifts_rule, `${response} lifts a rule that stays`)
  checkShown(run, shown_sha256)
  const isStarter = principal === undefined || principal === run.starter
  must(
    content.by !== 'other_than_starter' || !isStarter,
    'the rule asks for an answer by somebody other than the person who started the run, and no such person answered',
  )
  return {
    rules: rules && lifts_rule ? { ...rules, lifted: [...rules.lifted, rule] } : rules,
    phase: { type: 'acting', pending, open: null, decision },
  }
}

/** Records of earlier versions do not name the hash. */
function checkShown({ question }: VerifiedRun, shown: string | undefined): void {
  const isSame = shown === undefined || shown === question
  must(isSame, `it names the hash ${shown} of the question, and the question has ${question}`)
}
