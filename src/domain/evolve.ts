import { idleUntil } from './budget.ts'
import { BrokenInvariant } from './errors.ts'
import {
  answer,
  answerCall,
  askAboutCall,
  askHuman,
  closeCall,
  openCall,
  pause,
  reply,
  resume,
  retry,
  spend,
  startSubagent,
} from './evolve-turns.ts'
import { addListing } from './mcp-tools.ts'
import { present } from './present.ts'
import type { PayloadOf, RecordOf, RunRecord } from './records.ts'
import type { ConfigChanges } from './run-config.ts'
import { finalAfter } from './run-verdict.ts'
import {
  AFTER_THE_END,
  ASKED_ANEW,
  isOfWork,
  type Phase,
  type RunState,
  type Usage,
} from './state.ts'
import { UNSUSPICIOUS, watchFinding } from './stuck.ts'
import { crashesAfter } from './subagent-state.ts'
import { titleOf } from './texts.ts'
import { doubtOf } from './verdict.ts'

const NOTHING_USED: Usage = { tokens: 0, costUsd: 0 }

function create(record: RecordOf<'run_created'>): RunState {
  const { isolation, project, parent, origin, default_effort: defaultEffort } = record.payload
  const { copy_of: of, taken_over: before } = record.payload
  return {
    runId: record.run_id,
    config: record.payload.config,
    ...present({ isolation, project, parent, origin, defaultEffort }),
    ...present({ title: titleOf(record.payload.instructions) }),
    // A run that continues in the copy of another knows it from the beginning.
    ...(of && { copy: { of, is: project === undefined ? 'due' : 'made' } }),
    requestSha256: record.payload.idempotency?.request_sha256 ?? null,
    seq: 0,
    phase: { type: 'ready' },
    iteration: 0,
    turns: 0,
    changed: true,
    watch: UNSUSPICIOUS,
    instructed: record.payload.instructions !== undefined,
    introduced: before?.introduced ?? false,
    ...present({ shellFolder: before?.shell_folder, start: before?.start }),
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

/** The rules for calls of a new run, if there are any. */
function rulesOf({ payload }: RecordOf<'run_created'>): Pick<RunState, 'approvals'> {
  const { config, server_approvals: server = [] } = payload
  const { approvals: run = [] } = config
  if (run.length + server.length === 0) return {}
  return { approvals: { run, server, lifted: [], approvedCostUsd: 0 } }
}

/** A change of its models is a decision of a person, so the run asks the first of them again. */
function configure(state: RunState, changes: ConfigChanges): Partial<RunState> {
  const { model_name, fallback_models } = changes
  const config = { ...state.config, ...changes }
  if ((model_name ?? fallback_models) === undefined) return { config }
  const { fallback, phase } = state
  return {
    config,
    ...(fallback == null ? {} : { fallback: null }),
    ...(phase.type === 'planning' && { phase: ASKED_ANEW }),
  }
}

/** The last messages whose keys are remembered. */
const NAMED_MESSAGES = 64

/** After a message. */
function receive(state: RunState, { payload }: RecordOf<'user_message'>): Partial<RunState> {
  const { idempotency } = payload
  const named = idempotency === undefined ? [] : [{ seq: state.seq + 1, ...idempotency }]
  return {
    // The person may have changed the project, too.
    changed: true,
    watch: UNSUSPICIOUS,
    messages: { ...state.messages, sent: state.messages.sent + 1 },
    namedMessages: [...state.namedMessages, ...named].slice(-NAMED_MESSAGES),
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

function beginStep(state: RunState, record: RecordOf<'step_start'>): Partial<RunState> {
  switch (record.payload.node) {
    case 'plan': {
      const phase = ASKED_ANEW
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
  const { achieved, reason, verdict, tampering = [], named_tests } = check
  const wasTampered = state.tampering !== undefined
  return {
    // What was found beside an earlier check is of other files.
    ...(state.final == null ? {} : { final: null }),
    goal: { achieved, reason },
    ...(tampering.length > 0 || wasTampered ? { tampering } : {}),
    ...present({ namedTests: state.namedTests ?? named_tests }),
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

/** What is known of the files after a snapshot. */
function snapshotAfter(
  { seq, snapshot, start }: RunState,
  { tree, packs, salt, protected: files }: PayloadOf<'snapshot'>,
): NonNullable<RunState['snapshot']> {
  const at = { seq: seq + 1, tree }
  const kept = packs.reduce((sum, { bytes }) => sum + bytes, snapshot?.keptBytes ?? 0)
  const begun = snapshot?.first ?? { ...at, ...present({ tree: start?.tree }) }
  const first = { ...begun, ...present({ protected: files?.sha256 }) }
  return {
    ...snapshot,
    ...at,
    first,
    keptBytes: kept,
    ...present({ salt: snapshot?.salt ?? salt }),
  }
}

/** @param seq null: it is too late for hashes */
function hashedAt({ snapshot }: RunState, seq: number | null): Pick<RunState, 'snapshot'> {
  if (snapshot === undefined || snapshot.hashedAt !== undefined) return {}
  return { snapshot: { ...snapshot, hashedAt: seq } }
}

const NOT_BEGUN: ReadonlySet<string> = new Set(['rejected', 'denied', 'not_isolated'])

const mayHaveWritten = ({ phase }: RunState, { payload }: RecordOf<'tool_result'>): boolean =>
  phase.type === 'acting' && phase.open?.read_only === false && !NOT_BEGUN.has(payload.outcome)

const endedBy = ({ status, reason, verdict }: PayloadOf<'run_end'>): Phase => ({
  ...{ type: 'ended', status, reason, ...present({ against: doubtOf(verdict) }) },
})

const fail = (message: string): Partial<RunState> => ({
  ...{ error: message, phase: { type: 'erred', message } },
})

const copied = (
  { copy }: RunState,
  { project }: PayloadOf<'project_copied'>,
): Partial<RunState> => ({ project, ...(copy && { copy: { ...copy, is: 'made' } }) })

const discarded = ({ copy }: RunState): Partial<RunState> =>
  copy === undefined ? {} : { copy: { ...copy, is: 'discarded' } }

/** The goal must be checked again, if the run is not over. */
const rolledBack = (
  { phase, snapshot }: RunState,
  { to_tree: tree }: PayloadOf<'files_rolled_back'>,
): Partial<RunState> => ({
  ...(phase.type === 'ended' ? {} : { changed: true, watch: UNSUSPICIOUS }),
  // Whatever else was changed meanwhile is in the next snapshot.
  ...(snapshot && { snapshot: { ...snapshot, tree } }),
})

function change(state: RunState, record: RunRecord): Partial<RunState> {
  switch (record.kind) {
    case 'run_created':
      throw new BrokenInvariant('run_created comes after another record')
    case 'run_claimed':
      return beClaimed(state, record)
    case 'run_config_changed':
      return configure(state, record.payload.changes)
    case 'project_copied':
      return copied(state, record.payload)
    case 'run_paused':
      return pause(state, record)
    case 'run_resumed':
      return resume(state, record)
    case 'files_rolled_back':
      return rolledBack(state, record.payload)
    case 'copy_discarded':
      return discarded(state)
    case 'run_queued':
      return { queued: record.payload.reason }
    case 'changes_applied':
    case 'network_connection':
    case 'guard_changed':
      return {}
    case 'snapshot':
      return { snapshot: snapshotAfter(state, record.payload) }
    case 'left_out_hashed':
      return hashedAt(state, state.seq + 1)
    case 'project_context':
      return { introduced: true }
    case 'mcp_tools_listed':
      return { mcp: addListing(state.mcp, record.payload) }
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
      return {
        ...closeCall(state, record),
        ...(mayHaveWritten(state, record) && hashedAt(state, null)),
      }
    case 'subagent_started':
      return startSubagent(state, record)
    case 'context_compacted':
      return { phase: ASKED_ANEW }
    case 'agent_stuck':
      return { watch: watchFinding(state.watch, record.payload) }
    case 'goal_check':
      return judge(state, record.payload)
    case 'final_check':
      return finalAfter(state, record.payload)
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
      return fail(record.payload.message)
    case 'run_ending':
      return { phase: { type: 'ending', reason: record.payload.reason, isSummarized: false } }
    case 'run_summary':
      return summarize(state, record.payload)
    case 'run_end':
      return {
        ...{ endedAt: record.ts, waitingSince: null },
        phase: endedBy(record.payload),
      }
  }
}

const MAY_FOLLOW: ReadonlySet<string> = new Set(AFTER_THE_END)

/**
 * Folds one record into the state of its run; `null` is the state before `run_created`. Whether a run can have such a
 * history is not compared here: that is what src/audit/verify/possible-run.ts says.
 * @throws BrokenInvariant if there is nothing that the record can change
 */
export function evolve(state: RunState | null, record: RunRecord): RunState {
  if (state === null) {
    if (record.kind !== 'run_created') {
      throw new BrokenInvariant(`a run begins with run_created, not ${record.kind}`)
    }
    return create(record)
  }
  if (state.phase.type === 'ended' && !MAY_FOLLOW.has(record.kind))
    throw new BrokenInvariant(`${record.kind} comes after run_end`)
  const { ts: lastAt } = record
  return {
    ...state,
    ...(isOfWork(record.kind) && { crashes: 0, queued: null, awaitsTurn: false }),
    idleSeconds: idleUntil(state, lastAt),
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
