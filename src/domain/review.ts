import { err, ok, type Result } from 'neverthrow'
import { nameOfRule } from './approvals/rules.ts'
import { deniedCall } from './close-call.ts'
import type { AgentCommand, FromLog, PersonCommand } from './commands.ts'
import type { RunError } from './errors.ts'
import { onlyReads } from './mcp-tools.ts'
import type { RunRecord } from './records.ts'
import { isReviewDue, type RunState, recordOf } from './state.ts'

type Decided = Result<RunRecord[], RunError>
type Command<T> = Extract<AgentCommand | PersonCommand, { type: T }>

/** What the rules say of the next call: it begins, is denied, or waits for a person. */
export function recordReview(
  { callId, callSha256, verdict, readOnlyTools }: Command<'record_review'>,
  state: RunState,
  now: number,
): Decided {
  const { phase } = state
  const call = phase.type === 'acting' ? phase.pending[0] : undefined
  if (call === undefined || call.call_id !== callId || !isReviewDue(state)) {
    return err({ type: 'out_of_step', command: 'record_review', phase: phase.type })
  }
  const { action, rule, doubt } = verdict
  const begun = recordOf(state, now, 'tool_call', {
    ...call,
    read_only: onlyReads(call.tool, readOnlyTools, state.mcp),
  })
  if (action === 'allow' || rule === null) return ok([begun])
  const { content, ...name } = rule
  if (action === 'deny') {
    const why = [
      content.reason,
      doubt === null ? undefined : `It cannot be judged with certainty: ${doubt}.`,
    ]
    const reason = why.filter((part) => part !== undefined).join(' ') || null
    return ok([begun, deniedCall(state, now, call, { by: nameOfRule(name), reason })])
  }
  const question = {
    ...{ call_id: call.call_id, tool: call.tool, call_sha256: callSha256, rule: name, content },
    ...(doubt === null ? {} : { doubt }),
  }
  return ok([recordOf(state, now, 'approval_required', question)])
}

/** The answer of a person for the call that waits. After it, the process that works on the run continues. */
export function answerApproval(
  command: Command<'answer_approval'>,
  state: RunState,
  now: number,
  { hashes, isStarter }: FromLog,
): Decided {
  const { phase } = state
  if (phase.type !== 'awaiting_approval') return err({ type: 'not_awaiting_human' })
  const { decision, reason, answers, callSha256, liftsRule = false, seen = null } = command
  const [call] = phase.pending
  if (answers !== phase.seq) {
    return err({ type: 'stale_decision', open: phase.seq, answered: answers })
  }
  if (call === undefined || callSha256 !== phase.callSha256) {
    return err({ type: 'other_call', callId: call?.call_id ?? '' })
  }
  if (phase.content.by === 'other_than_starter' && isStarter) {
    return err({ type: 'starter_may_not_answer' })
  }
  if (liftsRule && (decision !== 'allow' || phase.rule.of !== 'run')) {
    return err({ type: 'rule_stays' })
  }
  const shown = hashes.get(phase.seq)
  return ok([
    recordOf(state, now, 'approval_response', {
      ...{ decision, reason, answers, call_id: call.call_id, call_sha256: callSha256 },
      ...(liftsRule ? { lifts_rule: true as const } : {}),
      ...(shown === undefined ? {} : { shown_sha256: shown }),
      ...(seen === null ? {} : { seen }),
    }),
  ])
}
