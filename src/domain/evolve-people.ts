import { ruleNamed } from './approvals/rules.ts'
import { BrokenInvariant } from './errors.ts'
import { mayBeSame } from './free-text.ts'
import { present } from './present.ts'
import type { Kind, RecordOf, RunRecord } from './records.ts'
import type { ConfigChanges } from './run-config.ts'
import { isReviewDue, type Phase, type RunState } from './state.ts'
import { UNSUSPICIOUS } from './stuck.ts'

/** What stays after a record that is not of a process at work on the run: a call, check or wait is still under way. */
export const unworked = ({ crashes, queued, awaitsTurn }: RunState) => ({
  ...{ crashes, queued, awaitsTurn },
})

/** A change of its models is a decision of a person, so the run asks the first of them again. */
export function configure(state: RunState, changes: ConfigChanges): Partial<RunState> {
  const { model_name, fallback_models } = changes
  const config = { ...state.config, ...changes }
  const common = { ...unworked(state), config }
  if ((model_name ?? fallback_models) === undefined) return common
  const { fallback, phase } = state
  return {
    ...common,
    ...(fallback == null ? {} : { fallback: null }),
    ...(phase.type === 'planning' && phase.failures > 0 ? { phase: attemptsOfNext(phase) } : {}),
  }
}

/** The model that is asked from now on has attempts of its own. */
function attemptsOfNext({ failures }: Phase & { type: 'planning' }): Phase {
  return { type: 'planning', failures, otherFailures: failures }
}

/** While a run waits for a person, only they, claims, and late reports of commands add to it, or it ends. */
const WHILE_WAITING: ReadonlySet<Kind> = new Set([
  ...(['human_check_response', 'approval_response', 'run_claimed', 'run_config_changed'] as const),
  ...(['user_message', 'network_connection', 'guard_changed', 'run_queued'] as const),
  ...(['error', 'run_end'] as const),
])

export const mayComeWhileWaiting = ({ kind }: RunRecord): boolean => WHILE_WAITING.has(kind)

/** The run waits until a person has approved another iteration, or another try of what crashes interrupted. */
export function askHuman(
  { seq, phase }: RunState,
  { ts, payload: { summary } }: RecordOf<'human_check_required'>,
): Partial<RunState> {
  const interrupted = phase.type === 'consulting' ? undefined : phase
  const asking = { type: 'awaiting_human', seq: seq + 1, summary } as const
  return { waitingSince: ts, phase: { ...asking, ...present({ interrupted }) } }
}

/** After the answer to a human check. */
export function answer(
  state: RunState,
  record: RecordOf<'human_check_response'>,
): Partial<RunState> {
  const { decision, reason, answers } = record.payload
  const { seq: open = null, interrupted } = state.phase.type === 'awaiting_human' ? state.phase : {}
  if (open !== answers) {
    throw new BrokenInvariant(
      `human_check_response answers record ${answers}, and the open question is ${open ?? 'none'}`,
    )
  }
  return {
    ...afterWaiting(state, record.ts),
    phase:
      decision === 'approve'
        ? (interrupted ?? { type: 'ready' })
        : { type: 'aborting', reason: reason ?? 'Aborted at a human check' },
  }
}

function afterWaiting(state: RunState, ts: number): Partial<RunState> {
  const waited = state.waitingSince === null ? 0 : ts - state.waitingSince
  return {
    waitingSince: null,
    awaitsTurn: true,
    waitedSeconds: state.waitedSeconds + Math.max(0, waited),
    // A person may have changed the project meanwhile.
    changed: true,
    watch: UNSUSPICIOUS,
  }
}

/** The rules for calls of a new run, if there are any. */
export function rulesOf({ payload }: RecordOf<'run_created'>): Pick<RunState, 'approvals'> {
  const { config, server_approvals: server = [] } = payload
  const { approvals: run = [] } = config
  if (run.length + server.length === 0) return {}
  return { approvals: { run, server, lifted: [], approvedCostUsd: 0 } }
}

/** The run waits until a person has answered for the next call. */
export function askAboutCall(
  state: RunState,
  { ts, payload }: RecordOf<'approval_required'>,
): Partial<RunState> {
  const { phase } = state
  const next = phase.type === 'acting' && phase.open === null ? phase.pending[0] : undefined
  if (phase.type !== 'acting' || next?.call_id !== payload.call_id) {
    throw new BrokenInvariant(`approval_required ${payload.call_id} is not about the next call`)
  }
  const { call_sha256: callSha256, rule, content, doubt = null, network } = payload
  if (!isReviewDue(state) || payload.tool !== next.tool) {
    throw new BrokenInvariant(
      `approval_required ${payload.call_id} is about no call to be reviewed`,
    )
  }
  const wanted = ruleNamed(state.approvals, rule)
  const isLifted = state.approvals?.lifted.some((each) => mayBeSame(each, rule)) === true
  if (isLifted || content.action !== 'ask' || !mayBeSame(content, wanted)) {
    throw new BrokenInvariant(
      `approval_required ${payload.call_id} names rule ${rule.index} of the ${rule.of}, which does not ask like that`,
    )
  }
  return {
    waitingSince: ts,
    phase: {
      ...{ type: 'awaiting_approval', seq: state.seq + 1, pending: phase.pending },
      ...{ callSha256, rule, content, doubt, ...present({ network }) },
    },
  }
}

/** After the answer for a call, which begins next or gets a result that says why it does not. */
export function answerCall(
  state: RunState,
  { ts, payload }: RecordOf<'approval_response'>,
): Partial<RunState> {
  const { phase, approvals, total, config } = state
  if (phase.type !== 'awaiting_approval') {
    throw new BrokenInvariant(`approval_response ${payload.call_id} answers no open question`)
  }
  const { decision, reason, lifts_rule, answers, call_id, call_sha256 } = payload
  if (answers !== phase.seq || call_id !== phase.pending[0]?.call_id) {
    throw new BrokenInvariant(
      `approval_response ${call_id} answers record ${answers}, and the open question is ${phase.seq}`,
    )
  }
  if (!mayBeSame(call_sha256, phase.callSha256)) {
    throw new BrokenInvariant(
      `approval_response ${call_id} is about another call than the question`,
    )
  }
  if (lifts_rule === true && (decision !== 'allow' || phase.rule.of !== 'run')) {
    throw new BrokenInvariant(`approval_response ${call_id} lifts a rule that stays`)
  }
  const isAllowed = decision === 'allow'
  const { network } = phase
  return {
    ...afterWaiting(state, ts),
    ...(isAllowed && network !== undefined ? { config: { ...config, network } } : {}),
    ...(approvals !== undefined && {
      approvals: {
        ...approvals,
        lifted: lifts_rule === true ? [...approvals.lifted, phase.rule] : approvals.lifted,
        approvedCostUsd: isAllowed ? total.costUsd : approvals.approvedCostUsd,
      },
    }),
    phase: { type: 'acting', pending: phase.pending, open: null, answer: { decision, reason } },
  }
}

/** The last messages whose keys are remembered. */
const NAMED_MESSAGES = 64

/** After a message. */
export function receive(state: RunState, { payload }: RecordOf<'user_message'>): Partial<RunState> {
  const { idempotency } = payload
  const named = idempotency === undefined ? [] : [{ seq: state.seq + 1, ...idempotency }]
  return {
    // It interrupts nothing that is under way.
    ...unworked(state),
    // The person may have changed the project, too.
    changed: true,
    watch: UNSUSPICIOUS,
    messages: { ...state.messages, sent: state.messages.sent + 1 },
    namedMessages: [...state.namedMessages, ...named].slice(-NAMED_MESSAGES),
  }
}
