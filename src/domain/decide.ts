import { err, ok, type Result } from 'neverthrow'
import { advance, runEnd } from './advance.ts'
import { heldBy, usedUp } from './budget.ts'
import { abortCalls } from './close-call.ts'
import type { CommandOnRun, CreateCommand, FromLog, QueueCommand, RunCommand } from './commands.ts'
import { decideForAgent } from './decide-for-agent.ts'
import type { RunError } from './errors.ts'
import { evolve, fold } from './evolve.ts'
import { isLimit } from './pause.ts'
import { present } from './present.ts'
import type { Idempotency, RecordOf, RunRecord } from './records.ts'
import { isAtRest, isWaiting, type RunState, recordOf } from './state.ts'

type Decided = Result<RunRecord[], RunError>
type Command<T extends RunCommand['type']> = Extract<RunCommand, { type: T }>

const NOTHING: FromLog = { hashes: new Map(), isStarter: false, subagents: [] }

/**
 * Decides which records a command adds to a run; `null` is the state before it exists. Pure: `now`
 * (seconds since the epoch), the outcomes of effects and hashes of the log come in as data.
 */
export function decide(
  command: RunCommand,
  state: RunState | null,
  now: number,
  fromLog: FromLog = NOTHING,
): Decided {
  if (command.type === 'create') return create(command, state, now)
  if (state === null) return err({ type: 'run_not_found' })
  const mayFollow = command.type === 'record_carried' || command.type === 'discard'
  if (state.phase.type === 'ended' && !mayFollow) {
    return err({ type: 'run_ended', status: state.phase.status })
  }
  if (command.type === 'queue') return queue(command, state, now)
  return 'claimant' in command
    ? decideForAgent(command, state, now)
    : decideForPerson(command, state, now, fromLog)
}

/** Decides what the stream of a new run begins with. */
function create(command: CreateCommand, state: RunState | null, now: number): Decided {
  const { type: _, runId, server_approvals = [], reason, instructions, pool, ...known } = command
  if (state !== null) return err(existing(state, known.idempotency))
  const record: RecordOf<'run_created'> = {
    kind: 'run_created',
    run_id: runId,
    iteration: 0,
    ts: now,
    payload: {
      ...known,
      ...present({ reason, instructions, pool }),
      ...(server_approvals.length === 0 ? {} : { server_approvals }),
    },
  }
  return ok([record])
}

/** Why an existing run is not created again: the request is the same, or another one. */
export function existing(state: RunState, idempotency: Idempotency | undefined): RunError {
  if (idempotency === undefined) return { type: 'run_exists' }
  return {
    type: state.requestSha256 === idempotency.request_sha256 ? 'already_created' : 'key_reused',
  }
}

function decideForPerson(
  command: CommandOnRun,
  state: RunState,
  now: number,
  fromLog: FromLog,
): Decided {
  const { seen = null } = command
  if (seen !== null && fromLog.hashes.get(seen.seq) !== seen.hash) {
    return err({ type: 'seen_otherwise', seq: seen.seq })
  }
  switch (command.type) {
    case 'respond':
      return respond(command, state, now, fromLog)
    case 'answer_approval':
      return answerApproval(command, state, now, fromLog)
    case 'abort': {
      const closing = abortCalls(state, now, fromLog.subagents)
      const closed = fold(closing, state) ?? state
      const reason = command.reason ?? 'Aborted on request'
      return ok([...closing, runEnd(closed, now, 'aborted', reason, seen)])
    }
    case 'send_message':
      return sendMessage(command, state, now)
    case 'record_carried': {
      if (!isAtRest(state)) return err({ type: 'run_at_work' })
      const { kind, payload } = command.carried
      return ok([recordOf(state, now, kind, { ...payload, ...present({ seen }) })])
    }
    case 'discard': {
      if (state.phase.type !== 'ended') return err({ type: 'run_at_work' })
      if (state.copy?.is !== 'made') return err({ type: 'no_copy' })
      const { reason } = command
      return ok([recordOf(state, now, 'copy_discarded', { reason, ...present({ seen }) })])
    }
    case 'configure':
      return configure(command, state, now, fromLog)
  }
}

/** A message never answers a human check, and never interrupts a call: the next request to the model holds it. */
function sendMessage(command: Command<'send_message'>, state: RunState, now: number): Decided {
  const { text, idempotency, seen } = command
  const twin = state.namedMessages.find(({ key }) => key === idempotency?.key)
  if (twin !== undefined) {
    return err(
      twin.request_sha256 === idempotency?.request_sha256
        ? { type: 'already_sent', seq: twin.seq }
        : { type: 'key_reused' },
    )
  }
  const why = present({ idempotency, seen })
  return ok([recordOf(state, now, 'user_message', { text, ...why })])
}

/**
 * The answer of a person to what a run waits for. Clients that know only human checks answer for a call, too: to approve
 * allows it, and to abort ends the run. A run that a limit has paused continues only when that is raised.
 */
function respond(
  command: Command<'respond'>,
  state: RunState,
  now: number,
  fromLog: FromLog,
): Decided {
  const { phase } = state
  const { decision, reason, answers, seen = null } = command
  if (!('seq' in phase)) return err({ type: 'not_awaiting_human' })
  if (answers !== null && answers !== phase.seq) {
    return err({ type: 'stale_decision', open: phase.seq, answered: answers })
  }
  if (phase.type === 'awaiting_human') {
    const response = recordOf(state, now, 'human_check_response', {
      decision,
      ...answerTo(phase.seq, command, fromLog),
    })
    if (decision !== 'abort') return ok([response])
    // An abort takes effect here. After an approval, the process that works on the run continues.
    return ok([response, ...advance(evolve(state, response), NONE, now)])
  }
  if (decision === 'abort') {
    const before = phase.type === 'paused' ? 'while it was paused' : 'before a call'
    return ok([runEnd(state, now, 'aborted', reason ?? `Aborted ${before}`, seen)])
  }
  if (phase.type === 'awaiting_approval') {
    const { seq, callSha256 } = phase
    const answer = { type: 'answer_approval', decision: 'allow', reason, seen } as const
    return answerApproval({ ...answer, answers: seq, callSha256 }, state, now, fromLog)
  }
  const { by } = phase
  const held = heldBy(state, now) ?? (isLimit(by) ? { by, reason: phase.reason } : null)
  if (held !== null) return err({ type: 'limit_reached', limit: held.by, reason: held.reason })
  return ok([recordOf(state, now, 'run_resumed', answerTo(phase.seq, command, fromLog))])
}

/** The answer of a person for the call that waits. After it, the process that works on the run continues. */
function answerApproval(
  command: Command<'answer_approval'>,
  state: RunState,
  now: number,
  fromLog: FromLog,
): Decided {
  const { phase } = state
  if (phase.type !== 'awaiting_approval') return err({ type: 'not_awaiting_human' })
  const { decision, answers, callSha256, liftsRule = false } = command
  const [call] = phase.pending
  if (answers !== phase.seq) {
    return err({ type: 'stale_decision', open: phase.seq, answered: answers })
  }
  if (call === undefined || callSha256 !== phase.callSha256) {
    return err({ type: 'other_call', callId: call?.call_id ?? '' })
  }
  if (phase.content.by === 'other_than_starter' && fromLog.isStarter) {
    return err({ type: 'starter_may_not_answer' })
  }
  if (liftsRule && (decision !== 'allow' || phase.rule.of !== 'run')) {
    return err({ type: 'rule_stays' })
  }
  return ok([
    recordOf(state, now, 'approval_response', {
      decision,
      call_id: call.call_id,
      call_sha256: callSha256,
      ...answerTo(answers, command, fromLog),
      ...(liftsRule && { lifts_rule: true }),
    }),
  ])
}

/** What a record says of the answer of a person to record `seq`, or of a change of the configuration that ends a pause. */
const answerTo = (
  seq: number,
  { reason = null, seen }: Pick<Command<'configure'>, 'reason' | 'seen'>,
  { hashes }: FromLog,
) => ({ reason, answers: seq, ...present({ shown_sha256: hashes.get(seq), seen }) })

/** A change of the configuration. A run that a limit has paused continues if no limit holds it any more. */
function configure(
  command: Command<'configure'>,
  state: RunState,
  now: number,
  fromLog: FromLog,
): Decided {
  const { changes, reason, seen } = command
  const problems = usedUp(changes, state, now)
  if (problems.length > 0) return err({ type: 'limits_used', problems })
  const changed = recordOf(state, now, 'run_config_changed', {
    changes,
    ...present({ reason, seen }),
  })
  const { phase } = state
  if (phase.type !== 'paused' || !isLimit(phase.by)) return ok([changed])
  const held = heldBy(evolve(state, changed), now)
  if (held !== null) {
    return ok(
      held.by === phase.by ? [changed] : [changed, recordOf(state, now, 'run_paused', held)],
    )
  }
  // If the price of the next request stopped it, that may stop it again.
  return ok([changed, recordOf(state, now, 'run_resumed', answerTo(phase.seq, command, fromLog))])
}

/** A run that waits for a person needs no server until it has the answer. */
function queue(
  { reason, expected, overrides }: QueueCommand,
  state: RunState,
  now: number,
): Decided {
  if (state.claimant !== expected) return err({ type: 'claim_lost', claimant: state.claimant })
  if (isWaiting(state) || state.queued === reason) return ok([])
  if (state.queued !== null && !overrides) return ok([])
  return ok([recordOf(state, now, 'run_queued', { reason })])
}

const NONE: ReadonlySet<string> = new Set()
