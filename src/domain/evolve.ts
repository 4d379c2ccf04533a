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
import type { Kind, PayloadOf, RecordOf, RunRecord } from './records.ts'
import type { ConfigChanges } from './run-config.ts'
import { finalAfter } from './run-verdict.ts'
import { AFTER_THE_END, ASKED_ANEW, isOfWork, type RunState, type Usage } from './state.ts'
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

type Folds = {
  readonly [K in Kind]: (state: RunState, record: RecordOf<K>) => Partial<RunState>
}

const NO_CHANGE = (): Partial<RunState> => ({})

/** What each kind of record changes in the state of its run. */
const FOLDS: Folds = {
  run_created: () => {
    throw new BrokenInvariant('run_created comes after another record')
  },
  // A server begins to work on the run. Until now, none did.
  run_claimed: (state, { ts, payload: { claimant, after_crash } }) => ({
    claimant,
    crashes: crashesAfter(state, after_crash === true),
    idleSeconds: idleUntil({ ...state, claimant: null }, ts),
  }),
  run_config_changed: (state, { payload }) => configure(state, payload.changes),
  project_copied: ({ copy }, { payload: { project } }) => {
    return { project, ...(copy && { copy: { ...copy, is: 'made' } }) }
  },
  run_paused: pause,
  run_resumed: resume,
  // The goal must be checked again, if the run is not over. Whatever else was changed meanwhile is in the next snapshot.
  files_rolled_back: ({ phase, snapshot }, { payload: { to_tree: tree } }) => ({
    ...(phase.type === 'ended' ? {} : { changed: true, watch: UNSUSPICIOUS }),
    ...(snapshot && { snapshot: { ...snapshot, tree } }),
  }),
  copy_discarded: ({ copy }) => (copy ? { copy: { ...copy, is: 'discarded' } } : {}),
  run_queued: (_, { payload }) => ({ queued: payload.reason }),
  changes_applied: NO_CHANGE,
  network_connection: NO_CHANGE,
  guard_changed: NO_CHANGE,
  snapshot: (state, { payload }) => ({ snapshot: snapshotAfter(state, payload) }),
  left_out_hashed: (state) => hashedAt(state, state.seq + 1),
  project_context: () => ({ introduced: true }),
  mcp_tools_listed: ({ mcp }, { payload }) => ({ mcp: addListing(mcp, payload) }),
  user_message: receive,
  step_start: beginStep,
  llm_usage: spend,
  llm_retry: retry,
  assistant_message: reply,
  tool_call: openCall,
  tool_result: (state, record) => ({
    ...closeCall(state, record),
    ...(mayHaveWritten(state, record) && hashedAt(state, null)),
  }),
  subagent_started: startSubagent,
  context_compacted: () => ({ phase: ASKED_ANEW }),
  agent_stuck: ({ watch }, { payload }) => ({ watch: watchFinding(watch, payload) }),
  goal_check: (state, { payload }) => judge(state, payload),
  final_check: (state, { payload }) => finalAfter(state, payload),
  iteration_complete: () => ({ phase: { type: 'iterated' } }),
  human_check_required: askHuman,
  human_check_response: answer,
  approval_required: askAboutCall,
  approval_response: answerCall,
  error: (_, { payload: { message } }) => ({ error: message, phase: { type: 'erred', message } }),
  run_ending: (_, { payload: { reason } }) => ({
    phase: { type: 'ending', reason, isSummarized: false },
  }),
  run_summary: ({ phase }, { payload: { text, source } }) => {
    const reason = phase.type === 'ending' ? phase.reason : ''
    return { summary: { text, source }, phase: { type: 'ending', reason, isSummarized: true } }
  },
  run_end: (_, { ts, payload: { status, reason, verdict } }) => ({
    endedAt: ts,
    waitingSince: null,
    phase: { type: 'ended', status, reason, ...present({ against: doubtOf(verdict) }) },
  }),
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
  // A console that is older than its server does not know all kinds.
  const change: (state: RunState, record: never) => Partial<RunState> =
    FOLDS[record.kind] ?? NO_CHANGE
  return {
    ...state,
    ...(isOfWork(record.kind) && { crashes: 0, queued: null, awaitsTurn: false }),
    idleSeconds: idleUntil(state, lastAt),
    ...change(state, record as never),
    lastAt,
    seq: state.seq + 1,
  }
}

/** Folds many records, oldest first. */
export function fold(records: Iterable<RunRecord>, from: RunState | null = null): RunState | null {
  let state = from
  for (const record of records) state = evolve(state, record)
  return state
}
