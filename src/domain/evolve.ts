import { BrokenInvariant } from './errors.ts'
import { closeCall, openCall, startSubagent } from './evolve-calls.ts'
import {
  answer,
  answerCall,
  askAboutCall,
  askHuman,
  configure,
  mayComeWhileWaiting,
  receive,
  rulesOf,
  unworked,
} from './evolve-people.ts'
import { compact, reply, retry, spend } from './evolve-replies.ts'
import { addListing } from './mcp-tools.ts'
import type { PayloadOf, RecordOf, RunRecord } from './records.ts'
import { idleUntil, isWaiting, type RunState, type Usage } from './state.ts'
import { UNSUSPICIOUS, watchFinding } from './stuck.ts'
import { openSubagents, subagentOf } from './subagent-state.ts'

const NOTHING_USED: Usage = { tokens: 0, costUsd: 0 }

function create(record: RecordOf<'run_created'>): RunState {
  const { isolation, project, parent, default_effort: defaultEffort } = record.payload
  return {
    runId: record.run_id,
    config: record.payload.config,
    ...(isolation === undefined ? {} : { isolation }),
    ...(project === undefined ? {} : { project }),
    ...(parent === undefined ? {} : { parent }),
    ...(defaultEffort === undefined ? {} : { defaultEffort }),
    requestSha256: record.payload.idempotency?.request_sha256 ?? null,
    seq: 0,
    phase: { type: 'ready' },
    iteration: 0,
    turns: 0,
    changed: true,
    watch: UNSUSPICIOUS,
    instructed: record.payload.instructions !== undefined,
    introduced: false,
    messages: { sent: 0, read: 0 },
    namedMessages: [],
    uncheckable: 0,
    total: NOTHING_USED,
    thisIteration: NOTHING_USED,
    goal: null,
    error: null,
    summary: null,
    claimant: null,
    awaitsTurn: false,
    pool: record.payload.pool ?? null,
    queued: null,
    crashes: 0,
    ...rulesOf(record),
    createdAt: record.ts,
    endedAt: null,
    waitingSince: null,
    waitedSeconds: 0,
    lastAt: record.ts,
    idleSeconds: 0,
  }
}

/** A server begins to work on the run. Until now, none did. */
function beClaimed(state: RunState, record: RecordOf<'run_claimed'>): Partial<RunState> {
  return {
    claimant: record.payload.claimant,
    crashes: crashesAfter(state, record.payload.after_crash === true),
    idleSeconds: idleUntil({ ...state, claimant: null }, record.ts),
  }
}

/**
 * How many crashes count against the check or call under way, if the process that held the run has crashed or not. None
 * counts against the wait for a model or sub-agent.
 */
export function crashesAfter(state: RunState, hasCrashed: boolean): number {
  const { phase, crashes } = state
  const isCalling = phase.type === 'acting' && phase.open !== null && subagentOf(state) === null
  const underWay = phase.type === 'evaluating' || isCalling
  return underWay && hasCrashed ? crashes + 1 : crashes
}

function beginStep(state: RunState, record: RecordOf<'step_start'>): Partial<RunState> {
  switch (record.payload.node) {
    case 'plan': {
      const phase = { type: 'planning', failures: 0 } as const
      if (record.iteration === state.iteration) return { phase }
      return { iteration: record.iteration, turns: 0, thisIteration: NOTHING_USED, phase }
    }
    case 'act': {
      const pending = state.phase.type === 'replied' ? state.phase.calls : []
      return { phase: { type: 'acting', pending, open: null } }
    }
    case 'evaluate':
      return { phase: { type: 'evaluating' } }
    case 'human_check':
      return { phase: { type: 'consulting' } }
  }
}

function judge(state: RunState, check: PayloadOf<'goal_check'>): Partial<RunState> {
  const { achieved, reason, verdict } = check
  return {
    goal: { achieved, reason },
    changed: false,
    uncheckable: verdict === 'cannot_check' ? state.uncheckable + 1 : 0,
    phase: { type: 'checked' },
  }
}

function summarize({ phase }: RunState, summary: PayloadOf<'run_summary'>): Partial<RunState> {
  const { text, source } = summary
  const reason = phase.type === 'ending' ? phase.reason : ''
  return { summary: { text, source }, phase: { type: 'ending', reason, isSummarized: true } }
}

const fail = ({ message }: PayloadOf<'error'>): Partial<RunState> => ({
  ...{ error: message, phase: { type: 'erred', message } },
})

function change(state: RunState, record: RunRecord): Partial<RunState> {
  switch (record.kind) {
    case 'run_created':
      throw new BrokenInvariant('run_created comes after another record')
    case 'run_claimed':
      return beClaimed(state, record)
    case 'run_config_changed':
      return configure(state, record.payload.changes)
    case 'run_queued':
      return { ...unworked(state), queued: record.payload.reason }
    case 'network_connection':
    case 'guard_changed':
      return unworked(state)
    case 'project_context':
      return { introduced: true }
    case 'mcp_tools_listed':
      return { ...unworked(state), mcp: addListing(state.mcp, record.payload) }
    case 'user_message':
      return receive(state, record)
    case 'step_start':
      return beginStep(state, record)
    case 'llm_usage':
      return spend(state, record.payload)
    case 'llm_retry':
      return retry(state, record)
    case 'assistant_message':
      return reply(state, record)
    case 'tool_call':
      return openCall(state, record)
    case 'tool_result':
      return closeCall(state, record)
    case 'subagent_started':
      return startSubagent(state, record)
    case 'context_compacted':
      return compact(state)
    case 'agent_stuck':
      return { watch: watchFinding(state.watch, record.payload) }
    case 'goal_check':
      return judge(state, record.payload)
    case 'iteration_complete':
      return { phase: { type: 'iterated' } }
    case 'human_check_required':
      return askHuman(state, record)
    case 'human_check_response':
      return answer(state, record)
    case 'approval_required':
      return askAboutCall(state, record)
    case 'approval_response':
      return answerCall(state, record)
    case 'error':
      return fail(record.payload)
    case 'run_ending':
      return { phase: { type: 'ending', reason: record.payload.reason, isSummarized: false } }
    case 'run_summary':
      return summarize(state, record.payload)
    case 'run_end':
      return end(state, record)
  }
}

/** A run that ends names the sub-agents that must end with it. */
function end(state: RunState, { ts, payload }: RecordOf<'run_end'>): Partial<RunState> {
  const { status, reason, subagents = [] } = payload
  const open = openSubagents(state)
  if (open.length !== subagents.length || open.some((id, at) => id !== subagents[at])) {
    const named = subagents.join(', ') || 'none'
    throw new BrokenInvariant(
      `run_end names the sub-agents ${named}, but ${open.join(', ') || 'none'} have not ended`,
    )
  }
  return { endedAt: ts, waitingSince: null, phase: { type: 'ended', status, reason } }
}

/**
 * Folds one record into the state of its run; `null` is the state before `run_created`.
 * @throws BrokenInvariant for a record that no accepted command can have added
 */
export function evolve(state: RunState | null, record: RunRecord): RunState {
  if (state === null) {
    if (record.kind !== 'run_created') {
      throw new BrokenInvariant(`a run begins with run_created, not ${record.kind}`)
    }
    return create(record)
  }
  if (state.phase.type === 'ended') throw new BrokenInvariant(`${record.kind} comes after run_end`)
  if (isWaiting(state) && !mayComeWhileWaiting(record)) {
    throw new BrokenInvariant(`${record.kind} comes before the answer to the open question`)
  }
  const { ts: lastAt } = record
  return {
    ...state,
    ...{ crashes: 0, queued: null, awaitsTurn: false, idleSeconds: idleUntil(state, lastAt) },
    ...change(state, record),
    ...{ lastAt, seq: state.seq + 1 },
  }
}

/** Folds many records, oldest first. */
export function fold(records: Iterable<RunRecord>, from: RunState | null = null): RunState | null {
  let state = from
  for (const record of records) state = evolve(state, record)
  return state
}
