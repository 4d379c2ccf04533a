import fc from 'fast-check'
import type { Verdict as CallVerdict } from '../../src/domain/approvals/rules.ts'
import type { AgentCommand, RunCommand } from '../../src/domain/commands.ts'
import { decide } from '../../src/domain/decide.ts'
import { fold } from '../../src/domain/evolve.ts'
import type { McpListing } from '../../src/domain/mcp-tools.ts'
import { nextStep } from '../../src/domain/next-step.ts'
import { isLimit } from '../../src/domain/pause.ts'
import { present } from '../../src/domain/present.ts'
import type { Notice, PayloadOf, RunRecord } from '../../src/domain/records.ts'
import { SUBAGENT_TOOL, type SubagentEnd } from '../../src/domain/related-runs.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import type { RunState } from '../../src/domain/state.ts'
import { subagentOf } from '../../src/domain/subagent-state.ts'
import { Verdict } from '../../src/domain/verdict.ts'
import { encodeTree, type GitObject, objectId } from '../../src/lib/git-objects.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import { writePack } from '../../src/lib/write-pack.ts'
import { GENESIS } from '../../src/log/chain.ts'
import { encode } from '../../src/log/codec.ts'
import { hashOfCall } from '../../src/log/commitment.ts'
import { streamOf } from '../../src/log/run-log.ts'

/** The tools in these runs that only read. */
const READ_ONLY: ReadonlySet<string> = new Set(['file_read', 'grep_search'])
const TOOLS = ['bash_exec', 'file_write', 'run_subagent', ...READ_ONLY]
const START = 1_770_000_000

/** What a command did besides its output. */
const NOTICES: readonly Notice[] = [
  {
    kind: 'network_connection',
    payload: {
      host: 'pypi.org',
      port: 443,
      allowed: true,
      reason: null,
      bytes_in: 5120,
      bytes_out: 640,
    },
  },
  { kind: 'guard_changed', payload: { path: '.git/hooks/pre-commit', sha256: null } },
]

/** The rules of some runs. */
const RULES = [
  { tool: 'file_write', action: 'deny', reason: 'Nothing is written here' },
  { command: 'git push *', action: 'ask' },
] as const

const text = fc.string({ unit: 'grapheme', maxLength: 12 })
const count = fc.nat({ max: 5000 })
const cost = fc.option(
  fc.nat({ max: 300 }).map((n) => n / 10_000),
  { freq: 20 },
)
const args = fc.dictionary(
  fc.constantFrom('path', 'command', 'content', 'nested'),
  fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null), fc.array(text, { maxLength: 2 })),
  { noNullPrototype: true },
)
const call = fc.record(
  { tool: fc.constantFrom(...TOOLS), args, raw_args: text },
  { requiredKeys: ['tool', 'args'] },
)
const modelName = fc.constantFrom('gpt-5-mini', 'claude-sonnet-4-6', 'ollama/qwen3')

/** What happens next, and how often, in proportion to the others. */
const EVENTS = {
  work: 40,
  crash: 4,
  model_failure: 3,
  compaction: 2,
  mcp: 2,
  configure: 2,
  message: 2,
  stray: 2,
  queue: 2,
  notice: 2,
  snapshot: 2,
  left_out: 2,
  exception: 1,
  abort: 1,
} as const
type Event = keyof typeof EVENTS

const event: fc.Arbitrary<Event> = fc.oneof(
  ...(Object.keys(EVENTS) as Event[]).map((name) => ({
    weight: EVENTS[name],
    arbitrary: fc.constant(name),
  })),
)

/** One random move: what happens next, and the outcome of the current effect. */
const move = fc.record({
  event,
  seconds: fc.nat({ max: 20_000 }).map((ms) => ms / 1000),
  usage: fc.record({
    input_tokens: count,
    output_tokens: count,
    cost_usd: cost,
    model_name: modelName,
    duration_ms: count,
    omitted_turns: fc.nat({ max: 3 }),
  }),
  text: fc.option(text),
  calls: fc.array(call, { maxLength: 4 }),
  result: fc.record(
    {
      output: text,
      exit_code: fc.option(fc.nat({ max: 2 })),
      outcome: fc.constantFrom('ok', 'error', 'rejected', 'timed_out'),
      duration_ms: count,
      bytes: count,
      truncated: fc.boolean(),
      sha256: fc.constant(null),
      folder: fc.constantFrom('.', 'a', 'a/b'),
    },
    {
      requiredKeys: [
        'output',
        'exit_code',
        'outcome',
        'duration_ms',
        'bytes',
        'truncated',
        'sha256',
      ],
    },
  ),
  check: fc
    .record({
      achieved: fc.nat({ max: 4 }).map((n) => n === 4),
      reason: text,
      details: text,
      duration_ms: count,
    })
    .map((check) => ({ ...check, verdict: verdictOf(check) })),
  final: fc.option(
    fc.record({
      original_checks: fc.option(fc.constantFrom(...Verdict.options)),
      accept: fc.constantFrom(null, 'not_achieved'),
      tampering: fc.constantFrom([], [{ path: 'test_a.py', change: 'modified' } as const]),
      dependencies: fc.constantFrom(null, 'same', 'changed'),
      tree: fc.constantFrom(null, '4'.repeat(64)),
      rejected: fc.constantFrom(null, 'tampering', 'accept'),
      reason: text,
      feedback: text,
      duration_ms: count,
    }),
  ),
  answer: fc.record({
    decision: fc.constantFrom('approve', 'approve', 'approve', 'abort'),
    reason: fc.option(text),
  }),
  changes: fc.record(
    {
      max_iterations: fc.integer({ min: 1, max: 6 }),
      model_name: modelName,
      hitl_enabled: fc.boolean(),
      max_tokens: fc.constantFrom(null, 500, 40_000),
      max_cost_usd: fc.constantFrom(null, 0.02, 0.5),
      max_seconds: fc.constantFrom(null, 20, 300),
    },
    { requiredKeys: [] },
  ),
})

type Move = ReturnType<(typeof move)['generate']>['value']

/** One failed check in eight could not be carried out. */
function verdictOf({ achieved, duration_ms }: { achieved: boolean; duration_ms: number }): Verdict {
  if (achieved) return 'achieved'
  return duration_ms % 8 === 0 ? 'cannot_check' : 'not_achieved'
}

const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, { weight: 1, arbitrary })

/** Runs of this version, and runs of earlier ones, whose iterations have one turn. */
const config: fc.Arbitrary<RunConfig> = fc
  .record({
    goal: fc.constantFrom('pytest', 'npm-test', 'shell-goal'),
    cwd: fc.constantFrom('/home/ada/project', '/srv/it/väst'),
    model_name: modelName,
    max_iterations: fc.integer({ min: 1, max: 6 }),
    max_turns_per_iteration: fc.option(fc.integer({ min: 1, max: 4 })),
    hitl_enabled: fc.boolean(),
    max_cost_usd: rarely(fc.constantFrom(0, 0.02, 0.5)),
    max_tokens: rarely(fc.integer({ min: 1, max: 40_000 })),
    max_seconds: rarely(fc.integer({ min: 1, max: 300 })),
    approvals: rarely(fc.constant(RULES)),
    on_limit: fc.constantFrom(null, 'end' as const, 'pause' as const),
    shell_goal: fc.constantFrom(null, {
      check_command: 'make check',
      success_condition: { exit_code: 0 },
    }),
  })
  .map(({ max_turns_per_iteration: turns, approvals, on_limit, ...given }) => {
    const rest = { ...given, ...present({ on_limit, approvals }) }
    if (turns === null) return rest
    const { goal, cwd, model_name, max_iterations, ...others } = rest
    // In the order of the schema.
    return { goal, cwd, model_name, max_iterations, max_turns_per_iteration: turns, ...others }
  })

/** Omits members from each type of the union. */
type Report<C = AgentCommand> = C extends AgentCommand
  ? Omit<C, 'claimant' | 'readOnlyTools'>
  : never

const byAgent = (claimant: string, report: Report): RunCommand =>
  ({ ...report, claimant, readOnlyTools: READ_ONLY }) as AgentCommand

/** The agent has done this. */
const done = (claimant: string, made: Made): RunCommand =>
  byAgent(claimant, { type: 'record', made })
type Made = Extract<AgentCommand, { readonly type: 'record' }>['made']

function claim(state: RunState): RunCommand {
  const claimant = `process-${state.seq}`
  return byAgent(claimant, { type: 'claim', expected: state.claimant, pid: state.seq, host: 'a' })
}

/** The end of a sub-agent, with the usage of the move. */
function endOf(run_id: string, { usage, check, seconds }: Move): SubagentEnd {
  const { input_tokens: tokens, cost_usd } = usage
  const status = check.achieved ? 'achieved' : 'failed'
  return { run_id, status, tokens, cost_usd, waited_seconds: seconds, seq: 7, hash: '5'.repeat(64) }
}

/** The next step of the run, with the outcome that the move names. */
function work(state: RunState, claimant: string, move: Move): RunCommand {
  const step = nextStep(state)
  switch (step.type) {
    case 'call_model': {
      const tool_calls = move.calls.map((asked, i) => ({ call_id: `${state.seq}-${i}`, ...asked }))
      const finish_reason = tool_calls.length > 0 ? 'tool_calls' : 'stop'
      const { sent } = state.messages
      const held = sent === 0 ? {} : { user_messages: sent }
      const message = { text: move.text, tool_calls, finish_reason, ...held }
      return done(claimant, { llm_usage: move.usage, assistant_message: message })
    }
    case 'run_tool': {
      const { call_id, tool } = step.call
      const started = subagentOf(state)
      // Some calls that should start a sub-agent fail before they do.
      if (tool === SUBAGENT_TOOL && started === null && move.result.outcome !== 'rejected') {
        const run_id = `00000000-0000-4000-8000-${String(state.seq).padStart(12, '0')}`
        return done(claimant, { subagent_started: { call_id, run_id, config: state.config } })
      }
      const result = { call_id, tool, ...move.result }
      if (started === null) return done(claimant, { tool_result: result })
      const subagent = endOf(started.run_id, move)
      const outcome = subagent.status === 'achieved' ? 'ok' : 'error'
      return done(claimant, { tool_result: { ...result, outcome, subagent } })
    }
    case 'copy_project': {
      const project = { path: '/copies/1/project', device: '1', inode: '2' }
      return done(claimant, { project_copied: { project, files: 1, bytes: 2 } })
    }
    case 'check_goal':
      return done(claimant, {
        goal_check: move.check,
        ...(move.check.achieved && present({ final_check: move.final })),
      })
    case 'read_context': {
      const context = { documents: [], files: move.result.output, git: null, programs: null }
      return done(claimant, { project_context: context })
    }
    case 'summarize': {
      const source = move.text === null ? 'log' : 'model'
      const usage = move.text === null ? null : { ...move.usage, purpose: 'summary' as const }
      const summary = { text: move.result.output, source } as const
      return done(claimant, { llm_usage: usage, run_summary: summary })
    }
    case 'review_call': {
      const { call_id: callId } = step.call
      return byAgent(claimant, {
        type: 'record_review',
        callId,
        callSha256: hashOfCall(step.call),
        verdict: verdictOn(move, state),
      })
    }
    case 'await_human':
      if (state.phase.type === 'awaiting_approval') return answerFor(state.phase, move)
      if (state.phase.type === 'paused') return goOn(state, state.phase, move)
      return { type: 'respond', ...move.answer, answers: null }
    case 'proceed':
    case 'end':
      return byAgent(claimant, { type: 'proceed' })
  }
}

/** In a run with rules, two calls in three are denied or ask, by one of the rules. */
function verdictOn({ result: { duration_ms } }: Move, { approvals }: RunState): CallVerdict {
  const content = RULES[duration_ms % 3]
  const isLifted = approvals?.lifted.some(({ index }) => index === duration_ms % 3) === true
  if (content === undefined || isLifted) return { action: 'allow', rule: null, doubt: null }
  const rule = { of: 'run', index: duration_ms % 3, content } as const
  return { action: content.action, rule, doubt: duration_ms % 2 === 0 ? 'it has "if"' : null }
}

function answerFor(
  { seq, callSha256 }: Extract<RunState['phase'], { type: 'awaiting_approval' }>,
  { answer: { decision, reason }, seconds }: Move,
): RunCommand {
  if (seconds < 4) return { type: 'respond', decision, reason, answers: null }
  const allows = decision === 'approve'
  return {
    type: 'answer_approval',
    decision: allows ? 'allow' : 'deny',
    reason,
    answers: seq,
    callSha256,
    liftsRule: allows && seconds < 8,
  }
}

/** Raises the limit that has paused the run. */
function goOn(
  { iteration }: RunState,
  { by }: Extract<RunState['phase'], { type: 'paused' }>,
  { answer }: Move,
): RunCommand {
  if (!isLimit(by) || answer.decision === 'abort') {
    return { type: 'respond', ...answer, answers: null }
  }
  const changes = { [by]: by === 'max_iterations' ? iteration + 1 : null }
  return { type: 'configure', changes, reason: answer.reason }
}

/** Leaves out the first turn if there are more. */
function compaction(state: RunState, claimant: string, { text, usage }: Move): RunCommand {
  const turns = state.turns > 1 || state.iteration > 2 ? 1 : 0
  const { model_name, cost_usd } = usage
  const sizes = { tokens_before: 900, tokens_after: 90 }
  const summary = text === null ? { summary: null, failure: 'HTTP 500' } : { summary: text }
  return done(claimant, {
    llm_usage: { ...usage, purpose: 'compaction' },
    context_compacted: { turns, up_to: turns, ...summary, model_name, cost_usd, ...sizes },
  })
}

/** A server that sometimes fails, and whose tools sometimes change. */
function listing({ text: description, result: { duration_ms } }: Move): McpListing {
  const server = { server: 'docs', transport: 'stdio' } as const
  if (duration_ms % 9 === 0) return { ...server, tools: [], problem: description ?? 'It ended.' }
  const sha256 = (duration_ms % 9 === 1 ? 'b' : 'a').repeat(64)
  const tool = { tool: 'search', description: description ?? '', input_schema: { type: 'object' } }
  return { ...server, tools: [{ name: 'mcp__docs__search', ...tool, read_only: false, sha256 }] }
}

const SAME = Buffer.from('same')

/** Ten states of a project: a file of its own in each, and one in a folder that all have. */
const STATES = Array.from({ length: 10 }, (_, state) => {
  const object = (type: GitObject['type'], content: Buffer): GitObject => {
    return { id: objectId(type, content), type, content }
  }
  const [own, same] = [object('blob', Buffer.from(`state ${state}`)), object('blob', SAME)]
  const folder = object('tree', encodeTree([{ name: 'same', mode: '100755', id: same.id }]))
  const entries = [
    { name: 'own', mode: '100644', id: own.id },
    { name: 'folder', mode: '40000', id: folder.id },
  ] as const
  const tree = object('tree', encodeTree(entries))
  return { tree: tree.id, pack: writePack([own, same, folder, tree]) }
})

const LIST = Buffer.from('[]')

/** The packs that snapshots of random runs name, and the list that some records do, by SHA-256. */
export const PACKS: ReadonlyMap<string, Buffer> = new Map(
  [...STATES.map(({ pack }) => pack), LIST].map((content) => [sha256(content), content]),
)

/** A project with a few files, of which one is ignored. */
function snapshotOf({ usage: { duration_ms: bytes } }: Move): PayloadOf<'snapshot'> {
  const { tree = '', pack = Buffer.alloc(0) } = STATES[bytes % STATES.length] ?? {}
  return {
    tree,
    files: 2,
    bytes,
    left_out: [{ path: 'dist', why: 'ignored' }],
    packs: [{ sha256: sha256(pack), bytes: pack.length }],
  }
}

function hashesOf({ usage: { duration_ms } }: Move): PayloadOf<'left_out_hashed'> {
  const hash = sha256(LIST)
  if (duration_ms % 5 === 0) return { entries: { count: 400, sha256: hash } }
  return { entries: [{ path: 'dist', sha256: duration_ms % 5 === 1 ? null : hash }] }
}

function commandFor(state: RunState, move: Move): RunCommand {
  switch (move.event) {
    case 'abort':
      return { type: 'abort', reason: move.answer.reason }
    case 'configure':
      return { type: 'configure', changes: move.changes }
    case 'queue': {
      const reason = move.text ?? 'no key'
      return { type: 'queue', reason, expected: state.claimant, overrides: true }
    }
    case 'message':
      return { type: 'send_message', text: move.result.output }
    case 'stray':
      return byAgent('a process that never claimed', { type: 'proceed' })
  }
  if (state.claimant === null || move.event === 'crash') return claim(state)
  switch (move.event) {
    case 'model_failure':
      if (state.config.on_limit === 'pause' && move.result.duration_ms % 2 === 0) {
        return byAgent(state.claimant, { type: 'pause', by: 'provider', reason: 'HTTP 529' })
      }
      return byAgent(state.claimant, {
        type: 'record_retry',
        reason: 'HTTP 529',
        delayMs: 250,
        ...(move.text === null ? {} : { usage: move.usage }),
      })
    case 'compaction':
      return compaction(state, state.claimant, move)
    case 'mcp':
      return byAgent(state.claimant, { type: 'record_mcp_tools', listings: [listing(move)] })
    case 'notice':
      return byAgent(state.claimant, { type: 'record_notices', notices: NOTICES })
    case 'snapshot':
      return done(state.claimant, { snapshot: snapshotOf(move) })
    case 'left_out':
      return done(state.claimant, { left_out_hashed: hashesOf(move) })
    case 'exception':
      return byAgent(state.claimant, { type: 'fail', message: 'disk full', traceback: 'at f' })
    case 'work':
      return work(state, state.claimant, move)
  }
}

/** The appends of the accepted commands. A command that the domain refuses adds nothing. */
function play(runId: string, runConfig: RunConfig, moves: readonly Move[]): RunRecord[][] {
  const create: RunCommand = { type: 'create', runId, config: runConfig, system_prompt: 'Mend it.' }
  const created = decide(create, null, START)._unsafeUnwrap()
  const appends = [created]
  let state = fold(created)
  let now = START
  for (const move of moves) {
    if (state === null) break
    now += move.seconds
    const decided = decide(commandFor(state, move), state, now)
    if (decided.isErr() || decided.value.length === 0) continue
    appends.push(decided.value)
    state = fold(decided.value, state)
  }
  return appends
}

/**
 * Random runs as the domain writes them, with a list of records for each append: any number of iterations and calls,
 * failures, retries, people who answer, change and abort, and processes that replace dead ones. About four of five
 * runs have ended.
 */
export function validAppends(
  runId: fc.Arbitrary<string> = fc.uuid({ version: 4 }),
  { maxMoves = 60 }: { readonly maxMoves?: number } = {},
): fc.Arbitrary<RunRecord[][]> {
  return fc
    .tuple(runId, config, fc.array(move, { maxLength: maxMoves, size: 'max' }), fc.nat({ max: 9 }))
    .map(([id, runConfig, moves, kind]) => {
      // The agent of one run in ten only talks, so it makes no progress.
      const played = kind === 0 ? moves.map((move) => ({ ...move, calls: [] })) : moves
      return play(id, runConfig, played)
    })
}

export const EXAMPLE_CONFIG: RunConfig = {
  goal: 'pytest',
  cwd: '/home/ada/project',
  model_name: 'claude-sonnet-4-6',
  max_iterations: 20,
  hitl_enabled: false,
  max_cost_usd: null,
  max_tokens: null,
  max_seconds: null,
  shell_goal: null,
}

/** The first record of a run. `ts` is in seconds since the epoch. */
export function createdRecord(
  runId: string,
  { ts = START, ...changes }: Partial<RunConfig> & { readonly ts?: number } = {},
): RunRecord {
  const runConfig = { ...EXAMPLE_CONFIG, ...changes }
  const create: RunCommand = { type: 'create', runId, config: runConfig, system_prompt: 'Mend it.' }
  return decide(create, null, ts)._unsafeUnwrap()[0] as RunRecord
}

/** The records of `validAppends`, in order: a whole stream, or the beginning of one. */
export function validRun(
  runId?: fc.Arbitrary<string>,
  options?: { readonly maxMoves?: number },
): fc.Arbitrary<RunRecord[]> {
  return validAppends(runId, options).map((appends) => appends.flat())
}

/**
 * The events of records, chained as if they were one append, but not folded, so no run need be able to have them.
 */
export function chained(
  runId: string,
  records: readonly RunRecord[],
  from = 0,
  before = GENESIS,
  principalOf: (record: RunRecord) => string | undefined = () => undefined,
) {
  let prev_hash = before
  return records.map((record, index) => {
    const revision = from + index
    const principal = principalOf(record)
    const who = principal === undefined ? {} : { principal }
    const meta = { command_id: String(from), ...who, salt: '5a'.repeat(16), prev_hash }
    const { event, logged } = encode(revision, record, meta)
    prev_hash = logged.meta.hash
    const place = { stream: streamOf(runId), revision, position: String(revision) }
    return { event: { ...event, ...place, created: record.ts * 1000 }, hash: prev_hash }
  })
}
