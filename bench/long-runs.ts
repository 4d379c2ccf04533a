import { randomUUID } from 'node:crypto'
import { dueCompaction } from '../src/domain/compaction.ts'
import type { Conversation } from '../src/domain/conversation.ts'
import { converse } from '../src/domain/converse.ts'
import { decide } from '../src/domain/decide.ts'
import { evolve, fold } from '../src/domain/evolve.ts'
import type { RunRecord } from '../src/domain/records.ts'
import { toMessages } from '../src/domain/sent-messages.ts'
import type { RunState } from '../src/domain/state.ts'
import { inLetters } from './long-runs/in-letters.ts'
import { oneLoop } from './long-runs/one-loop.ts'
import { must } from './loop/must.ts'
import { integer, median, table } from './support/figures.ts'

const TURNS = 10_000
/** The two stretches of turns that are measured: when all is compiled, and at the end of a run. */
const STRETCH = 1_000
const FIRST = 1_000
const ROUNDS = 5
const REPETITIONS = 10
const OUTPUT_CHARACTERS = 1_000
const BUDGET_TOKENS = 100_000
const READ_ONLY: ReadonlySet<string> = new Set()

/** What a turn of a run of 10,000 costs at its beginning and at its end: folding, and making the next request. */
export async function run(): Promise<string> {
  const whole = await oneLoop({
    ...{ turns: TURNS, stretch: STRETCH },
    ...{ outputCharacters: OUTPUT_CHARACTERS, budgetTokens: BUDGET_TOKENS },
  })
  const rounds = Array.from({ length: ROUNDS }, oneRun)
  const rows = (['fold', 'converse', 'request'] as const).map((what) => {
    const first = median(rounds.map((round) => round[what].first))
    const last = median(rounds.map((round) => round[what].last))
    return [NAMES[what], first.toFixed(1), last.toFixed(1), `${(last / first).toFixed(2)}×`]
  })
  const [, second = NaN] = whole.msPerTurn
  const last = whole.msPerTurn.at(-1) ?? NaN
  rows.push([
    'all of it, in the loop with store and projections',
    (second * 1000).toFixed(1),
    (last * 1000).toFixed(1),
    `${(last / second).toFixed(2)}×`,
  ])
  const reopened = `The run of the last line has ${integer(whole.records)} records. To fold all of them, as after a restart, took ${whole.reopenMs.toFixed(0)} ms.`
  const head = ['of one turn', 'the second 1,000 turns, µs', 'the last 1,000, µs', 'ratio']
  return ['### A run of 10,000 turns', '', table(head, rows), '', NOTES, '', reopened].join('\n')
}

const NAMES = {
  fold: 'its records are folded into the state',
  converse: 'its records are folded into the conversation',
  request: 'the next request is made',
} as const

/** Microseconds a turn. */
type Cost = { readonly first: number; readonly last: number }

function oneRun(): Record<keyof typeof NAMES, Cost> {
  const { state, conversation, turns } = play()
  const stretches = [turns.slice(0, FIRST), turns.slice(FIRST, FIRST + STRETCH)]
  const [before = [], first = []] = stretches
  const [between, last] = [turns.slice(FIRST + STRETCH, -STRETCH), turns.slice(-STRETCH)]
  /** Folds all turns, and measures two stretches of them. */
  const measured = <S>(initial: S, add: (state: S, turn: readonly RunRecord[]) => S): Cost => {
    const early = before.reduce(add, initial)
    const late = between.reduce(add, first.reduce(add, early))
    return {
      first: usEach(() => first.reduce(add, early)),
      last: usEach(() => last.reduce(add, late)),
    }
  }
  const fold = measured(state, (folded, turn) => turn.reduce<RunState>(evolve, folded))
  const talk = (folded: Conversation, turn: readonly RunRecord[]) =>
    turn.reduce<Conversation>(converse, folded)
  const conversing = measured(conversation, talk)
  const asking = measured(conversation, (folded, turn) => {
    dueCompaction(folded, BUDGET_TOKENS)
    toMessages(folded, BUDGET_TOKENS)
    return talk(folded, turn)
  })
  const request = {
    first: asking.first - conversing.first,
    last: asking.last - conversing.last,
  }
  return { fold, converse: conversing, request }
}

/** Microseconds of this thread for one turn of a stretch. The clock is coarse, so the stretch is folded several times. */
function usEach(foldStretch: () => unknown): number {
  const begun = process.threadCpuUsage()
  for (let time = 0; time < REPETITIONS; time += 1) foldStretch()
  const { user, system } = process.threadCpuUsage(begun)
  return (user + system) / (STRETCH * REPETITIONS)
}

/** The records of each turn, with the summary that came before it. */
function play() {
  const begun = begin()
  let { state, conversation } = begun
  const turns = Array.from({ length: TURNS }, (_, turn) => {
    const due = dueCompaction(conversation, BUDGET_TOKENS)
    const commands = [
      ...(due === null ? [] : [compaction(due.turns)]),
      ...[reply(turn), result(turn)],
    ]
    return commands.flatMap((command) => {
      const records = must(decide(command, state, 0))
      state = records.reduce<RunState>(evolve, state)
      conversation = records.reduce<Conversation>(converse, conversation)
      return records
    })
  })
  return { ...begun, turns }
}

type Command = Parameters<typeof decide>[0]
const by = { claimant: 'bench', readOnlyTools: READ_ONLY } as const

function begin(): { readonly state: RunState; readonly conversation: Conversation } {
  const limits = { max_cost_usd: null, max_tokens: null, max_seconds: null }
  const config = {
    ...{ goal: 'idle', cwd: '/', model_name: 'm', shell_goal: null, hitl_enabled: false },
    ...{ max_iterations: 1, max_turns_per_iteration: TURNS * 2, ...limits },
  }
  const context = { documents: [], files: null, git: null, programs: null }
  const check = { achieved: false, reason: 'no', details: '', duration_ms: 1 }
  const commands: Command[] = [
    { type: 'create', runId: randomUUID(), config, systemPrompt: 'Work.' },
    { ...by, type: 'claim', expected: null, pid: 1, host: 'bench' },
    { ...by, type: 'record_goal_check', check },
    { ...by, type: 'record_context', context },
  ]
  const records: RunRecord[] = []
  for (const command of commands) records.push(...must(decide(command, fold(records), 0)))
  const conversation = records.reduce<Conversation | null>(converse, null)
  const state = fold(records)
  if (state === null || conversation === null) throw new Error('a run begins with a record')
  return { state, conversation }
}

function reply(turn: number): Command {
  const call = { call_id: `c${turn}`, tool: 'bash_exec', args: { command: `step ${turn}` } }
  const usage = { input_tokens: 1, output_tokens: 1, cost_usd: 0, model_name: 'm' }
  return {
    ...by,
    type: 'record_reply',
    usage: { ...usage, duration_ms: 1, omitted_turns: 0 },
    message: { text: 'I work.', tool_calls: [call], finish_reason: 'tool_calls' },
  }
}

function result(turn: number): Command {
  const output = inLetters(`${turn}`).padEnd(OUTPUT_CHARACTERS, 'x')
  const whole = { bytes: output.length, truncated: false, sha256: null, duration_ms: 1 }
  return {
    ...by,
    type: 'record_tool_result',
    result: {
      ...{ call_id: `c${turn}`, tool: 'bash_exec', output, exit_code: 0, outcome: 'ok' as const },
      ...whole,
    },
  }
}

function compaction(turns: number): Command {
  const sizes = { tokens_before: 1, tokens_after: 1 }
  const made = { turns, up_to: 0, summary: 'Much was done.', model_name: 'm', cost_usd: 0 }
  return { ...by, type: 'record_compaction', usage: null, compaction: { ...made, ...sizes } }
}

const NOTES = `Processor time, medians of ${ROUNDS} runs, in one process, without a store; the last line is one run, and the
processor time of the thread that works on it. Each turn has one call with an output of ${OUTPUT_CHARACTERS} characters. The
budget of a request is ${BUDGET_TOKENS} tokens, so a request holds up to about 370 turns, and the conversation is summarized about every 290 turns. A
request is made of all turns that it holds; the limit is a ratio of 1.`

if (import.meta.main) console.log(await run())
