import { err, ok, type Result } from 'neverthrow'
import { advance, isIntroductionDue, runEnd } from './advance.ts'
import { abortCalls, closeOpenCall } from './close-call.ts'
import type { AgentCommand, FromLog, PersonCommand, QueueCommand, RunCommand } from './commands.ts'
import type { RunError } from './errors.ts'
import { evolve, fold } from './evolve.ts'
import { compareListing } from './mcp-tools.ts'
import type { Idempotency, RecordOf, RunRecord } from './records.ts'
import { answerApproval, recordReview } from './review.ts'
import { isWaiting, type RunState, recordOf, startedBy } from './state.ts'
import { isRepeatable, subagentCalls } from './subagent-state.ts'

type Decided = Result<RunRecord[], RunError>
type Command<T extends RunCommand['type']> = Extract<RunCommand, { type: T }>

const NOTHING: FromLog = { hashes: new Map(), isStarter: false }

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
  if (state.phase.type === 'ended') return err({ type: 'run_ended', status: state.phase.status })
  if (command.type === 'queue') return queue(command, state, now)
  return 'claimant' in command
    ? decideForAgent(command, state, now)
    : decideForPerson(command, state, now, fromLog)
}

function create(command: Command<'create'>, state: RunState | null, now: number): Decided {
  const { runId, config, systemPrompt, reason = null, idempotency } = command
  const { isolation, pool = null, instructions = null, serverApprovals = [], parent } = command
  if (state !== null) return err(existing(state, idempotency))
  const record: RecordOf<'run_created'> = {
    kind: 'run_created',
    run_id: runId,
    iteration: 0,
    ts: now,
    payload: {
      config,
      system_prompt: systemPrompt,
      ...(reason === null ? {} : { reason }),
      ...(idempotency === undefined ? {} : { idempotency }),
      ...(instructions === null ? {} : { instructions }),
      ...(isolation === undefined ? {} : { isolation }),
      ...(pool === null ? {} : { pool }),
      ...(serverApprovals.length === 0 ? {} : { server_approvals: serverApprovals }),
      ...(parent === undefined ? {} : { parent }),
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
  command: Exclude<PersonCommand, { type: 'create' }>,
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
      const closing = abortCalls(state, now, command.subagents ?? [])
      const closed = fold(closing, state) ?? state
      const reason = command.reason ?? 'Aborted on request'
      return ok([...closing, runEnd(closed, now, 'aborted', reason, seen)])
    }
    case 'send_message':
      return sendMessage(command, state, now)
    case 'configure': {
      const { changes, reason = null } = command
      const why = { ...(reason === null ? {} : { reason }), ...(seen === null ? {} : { seen }) }
      return ok([recordOf(state, now, 'run_config_changed', { changes, ...why })])
    }
  }
}

/** A message never answers a human check, and never interrupts a call: the next request to the model holds it. */
function sendMessage(command: Command<'send_message'>, state: RunState, now: number): Decided {
  const { text, idempotency, seen = null } = command
  const twin = state.namedMessages.find(({ key }) => key === idempotency?.key)
  if (twin !== undefined) {
    return err(
      twin.request_sha256 === idempotency?.request_sha256
        ? { type: 'already_sent', seq: twin.seq }
        : { type: 'key_reused' },
    )
  }
  const why = {
    ...(idempotency === undefined ? {} : { idempotency }),
    ...(seen === null ? {} : { seen }),
  }
  return ok([recordOf(state, now, 'user_message', { text, ...why })])
}

function respond(
  command: Command<'respond'>,
  state: RunState,
  now: number,
  fromLog: FromLog,
): Decided {
  const { phase } = state
  if (phase.type === 'awaiting_approval') return respondForCall(command, state, now, fromLog)
  if (phase.type !== 'awaiting_human') return err({ type: 'not_awaiting_human' })
  const { decision, reason, answers, seen = null } = command
  if (answers !== null && answers !== phase.seq) {
    return err({ type: 'stale_decision', open: phase.seq, answered: answers })
  }
  const shown = fromLog.hashes.get(phase.seq)
  const response = recordOf(state, now, 'human_check_response', {
    decision,
    reason,
    answers: phase.seq,
    ...(shown === undefined ? {} : { shown_sha256: shown }),
    ...(seen === null ? {} : { seen }),
  })
  // An abort takes effect here. After an approval, the process that works on the run continues.
  return ok(
    decision === 'abort' ? [response, ...advance(evolve(state, response), NONE, now)] : [response],
  )
}

/** Clients that know only human checks answer for a call, too: to approve allows it, and to abort ends the run. */
function respondForCall(
  { decision, reason, answers, seen = null }: Command<'respond'>,
  state: RunState,
  now: number,
  fromLog: FromLog,
): Decided {
  const { phase } = state
  if (phase.type !== 'awaiting_approval') return err({ type: 'not_awaiting_human' })
  const { seq, callSha256 } = phase
  if (answers !== null && answers !== seq) {
    return err({ type: 'stale_decision', open: seq, answered: answers })
  }
  if (decision === 'abort') {
    return ok([runEnd(state, now, 'aborted', reason ?? 'Aborted before a call', seen)])
  }
  const answer = { type: 'answer_approval', decision: 'allow', reason, seen } as const
  return answerApproval({ ...answer, answers: seq, callSha256 }, state, now, fromLog)
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

function decideForAgent(command: AgentCommand, state: RunState, now: number): Decided {
  if (command.type === 'claim') return claim(command, state, now)
  if (state.claimant !== command.claimant) {
    return err({ type: 'claim_lost', claimant: state.claimant })
  }
  const outcome = recordOutcome(command, state, now)
  return outcome.map((records) => withAdvance(records, command, state, now))
}

/** The records of an agent's command, and all that follows from them without an effect. */
function withAdvance(records: RunRecord[], command: AgentCommand, state: RunState, now: number) {
  const after = fold(records, state) ?? state
  return [...records, ...advance(after, command.readOnlyTools, now)]
}

/** Claims a run for a process: at its start, after a restart, or from a process that seems dead. */
function claim(command: Command<'claim'>, state: RunState, now: number): Decided {
  const { claimant, expected, pid, host, afterCrash = false } = command
  if (state.claimant !== expected) return err({ type: 'claim_lost', claimant: state.claimant })
  const open = state.phase.type === 'acting' ? state.phase.open : null
  const why = afterCrash ? { after_crash: true as const } : {}
  const claimed = recordOf(state, now, 'run_claimed', { claimant, pid, host, ...why })
  if (evolve(state, claimed).crashes >= MAX_CRASHES) {
    const what = open === null ? 'goal was checked' : `call of ${open.tool} ran`
    const reason = `The server crashed ${MAX_CRASHES} times while the ${what}, so it is not tried again`
    return ok([
      claimed,
      ...closeOpenCall(state, now, 'crashed'),
      runEnd(state, now, 'failed', reason),
    ])
  }
  const records = [
    claimed,
    // Nobody can know whether a call that changes something took effect, so it is never run twice.
    ...(open !== null && !isRepeatable(open) ? closeOpenCall(state, now, 'in_doubt') : []),
  ]
  return ok(withAdvance(records, command, state, now))
}

function recordOutcome(
  command: Exclude<AgentCommand, { type: 'claim' }>,
  state: RunState,
  now: number,
): Decided {
  const { phase } = state
  const outOfStep = (): Decided =>
    err({ type: 'out_of_step', command: command.type, phase: phase.type })
  switch (command.type) {
    case 'proceed':
      return ok([])
    case 'record_reply':
      if (phase.type !== 'planning') return outOfStep()
      return ok([
        recordOf(state, now, 'llm_usage', command.usage),
        recordOf(state, now, 'assistant_message', command.message),
      ])
    case 'record_context':
      if (!isIntroductionDue(state)) return outOfStep()
      return ok([recordOf(state, now, 'project_context', command.context)])
    case 'record_mcp_tools': {
      const open = phase.type === 'acting' && phase.open !== null
      if (phase.type !== 'planning' && !open) return outOfStep()
      const { mcp_servers = [] } = state.config
      const listed = command.listings.map((one) => compareListing(one, state.mcp, mcp_servers))
      const isOver = listed.some(({ stops }) => stops !== undefined)
      return ok([
        ...listed.map((payload) => recordOf(state, now, 'mcp_tools_listed', payload)),
        ...(isOver ? closeOpenCall(state, now, 'not_run') : []),
      ])
    }
    case 'record_compaction':
      if (phase.type !== 'planning') return outOfStep()
      return ok([
        ...(command.usage === null ? [] : [recordOf(state, now, 'llm_usage', command.usage)]),
        recordOf(state, now, 'context_compacted', command.compaction),
      ])
    case 'record_summary':
      if (phase.type !== 'ending' || phase.isSummarized) return outOfStep()
      return ok([
        ...(command.usage === null ? [] : [recordOf(state, now, 'llm_usage', command.usage)]),
        recordOf(state, now, 'run_summary', command.summary),
      ])
    case 'record_retry': {
      if (phase.type !== 'planning') return outOfStep()
      const { reason, delayMs: delay_ms, failure, contextTokens, fallback } = command
      const attempt = phase.failures + 1
      const why = {
        ...(failure === undefined ? {} : { failure }),
        ...(contextTokens === undefined ? {} : { context_tokens: contextTokens }),
        ...(fallback === undefined ? {} : { fallback }),
      }
      return ok([recordOf(state, now, 'llm_retry', { attempt, reason, delay_ms, ...why })])
    }
    case 'record_review':
      return recordReview(command, state, now)
    case 'start_subagent': {
      const { call_id } = command.start
      if (!subagentCalls(state).some((call) => call.call_id === call_id)) return outOfStep()
      if (startedBy(state, call_id) !== null) return outOfStep()
      return ok([recordOf(state, now, 'subagent_started', command.start)])
    }
    case 'record_tool_result':
      if (phase.type !== 'acting') return outOfStep()
      if (phase.open?.call_id !== command.result.call_id) return outOfStep()
      return ok([recordOf(state, now, 'tool_result', command.result)])
    case 'record_notices': {
      const call_id = phase.type === 'acting' ? (phase.open?.call_id ?? null) : null
      return ok(
        command.notices.map(({ kind, payload }) =>
          recordOf(state, now, kind, { call_id, ...payload }),
        ),
      )
    }
    case 'record_goal_check':
      if (phase.type !== 'evaluating') return outOfStep()
      return ok([recordOf(state, now, 'goal_check', command.check)])
    case 'fail': {
      const { message, traceback } = command
      return ok([
        ...closeOpenCall(state, now, 'failed'),
        recordOf(state, now, 'error', { message, traceback }),
      ])
    }
  }
}

/** After this many crashes during one call or check, it is not tried again: it may be the cause. */
const MAX_CRASHES = 3

const NONE: ReadonlySet<string> = new Set()
