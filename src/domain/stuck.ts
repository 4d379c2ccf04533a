import type { PayloadOf, RequestedCall, Stuck } from './records.ts'
import { capitalized, stripTerminalCodes } from './texts.ts'

/** After how many turns in a row that repeat earlier ones the agent gets a hint. */
const HINT_TIMES = 2
/**
 * After how many turns in a row a pattern is answered: the agent is asked for another approach, and the next time its run ends.
 * Replies that are not whole are counted on their own, and end the run at once.
 */
const MOST = { repeating: 4, barren: 40, broken: 5 } as const
/** What the agent and people read about a pattern, with the number of turns in the place of `#`. */
const SEEN = {
  repeating: 'the last # turns were as turns before them, with the same results',
  barren: 'the last # turns changed nothing, and had no result that was new',
  malformed: 'the last # replies were not whole: the calls of the last one were not valid',
  empty: 'the last # replies were not whole: the last one was empty',
  cut: 'the last # replies were not whole: the last one was cut off',
  refused: 'the last # replies were not whole: the last one was a refusal',
} as const
/** Patterns that are still looked for; records of earlier versions name others. */
type Pattern = keyof typeof SEEN
type Broken = Exclude<Pattern, 'repeating' | 'barren'>

/** An agent whose calls take as long may be waiting for something, so it may repeat itself more often. */
const WAITING_MS = 2_000
const WAITING_TIMES = 4

/** In how many of the last turns something counts as seen before. After as many good ones, the agent has recovered. */
const REMEMBERED_TURNS = 16

/** The calls of a turn and their results, each as a number that equal ones share. */
type Done = { readonly call: number; readonly output: number }

/** What is remembered of the turns of an agent, to see when it makes no progress. Its size is bounded. */
export type Watch = {
  /** The turn under way. `acts`: a call of it succeeded that may have changed something. */
  readonly turn: Done & {
    readonly acts: boolean
    readonly calls: number
    readonly rejected: number
    readonly ms: number
  }
  /** The last turns, the latest first. */
  readonly recent: readonly Done[]
  /** How many of the last turns were as one of those before. */
  readonly repeating: number
  /** How many of the last turns had no new result, and changed nothing. */
  readonly barren: number
  /** How many of the last replies were not whole. */
  readonly broken: number
  /** What holds after the last turn, until it is recorded. */
  readonly due: Stuck | null
  /** Whether the agent was asked for another approach, and has not recovered. */
  readonly asked: boolean
  /** What was recorded last, until a person speaks or the agent recovers. */
  readonly found: Pick<Stuck, 'pattern' | 'times' | 'action'> | null
  /** Why the run ends, if it does. */
  readonly over: string | null
}

const NO_CALLS: Watch['turn'] = { call: 0, output: 0, acts: false, calls: 0, rejected: 0, ms: 0 }

export const UNSUSPICIOUS: Watch = {
  turn: NO_CALLS,
  recent: [],
  repeating: 0,
  barren: 0,
  broken: 0,
  due: null,
  asked: false,
  found: null,
  over: null,
}

const BROKEN: Readonly<Record<string, Broken>> = {
  malformed: 'malformed',
  empty: 'empty',
  length: 'cut',
  overflow: 'cut',
  refusal: 'refused',
}

/** A reply begins a turn; without calls, it ends it too. */
export function watchReply(watch: Watch, reply: PayloadOf<'assistant_message'>): Watch {
  const begun = { ...watch, turn: NO_CALLS, due: null }
  if (reply.tool_calls.length > 0) return begun
  const pattern = reply.notice === undefined ? undefined : BROKEN[reply.finish_reason]
  return pattern === undefined ? endTurn(begun) : endBrokenTurn(begun, pattern)
}

/** @param isLast whether the turn ends with this call */
export function watchResult(
  watch: Watch,
  call: RequestedCall & { readonly read_only: boolean },
  { outcome, exit_code, output, duration_ms }: PayloadOf<'tool_result'>,
  isLast: boolean,
): Watch {
  const { turn: before } = watch
  // A call that takes long may print numbers that show its progress. In others, only a loop counts.
  const numbers = duration_ms < WAITING_MS ? NUMBERS : TIMES
  const printed = `${outcome} ${exit_code}\n${stripTerminalCodes(output)}`.replace(numbers, '')
  const turn = {
    call: digestOf(textOf(call), before.call),
    output: digestOf(printed, before.output),
    acts: before.acts || (outcome === 'ok' && !call.read_only),
    calls: before.calls + 1,
    rejected: before.rejected + Number(outcome === 'rejected'),
    ms: before.ms + duration_ms,
  }
  const watched = { ...watch, turn }
  if (!isLast) return watched
  return turn.rejected === turn.calls ? endBrokenTurn(watched, 'malformed') : endTurn(watched)
}

/** What was found is recorded. Another approach begins without the suspicion of the earlier turns. */
export function watchFinding(watch: Watch, { pattern, times, action, message }: Stuck): Watch {
  const found = { pattern, times, action }
  switch (action) {
    case 'hint':
      return { ...watch, due: null, found }
    case 'reflection':
      return { ...UNSUSPICIOUS, asked: true, found }
    case 'end':
      return { ...watch, due: null, found, over: message }
  }
}

function endTurn(watch: Watch): Watch {
  const { turn, recent } = watch
  const { call, output, acts, ms } = turn
  const isRepeated = recent.some((past) => past.call === call && past.output === output)
  const isNews =
    !recent.some((past) => past.output === output) ||
    (acts && !recent.some((past) => past.call === call))
  const repeating = isRepeated ? watch.repeating + 1 : 0
  const barren = isNews ? 0 : watch.barren + 1
  const isGood = repeating === 0 && barren === 0
  const asked = watch.asked && !(isGood && recent.length === REMEMBERED_TURNS)
  const ended: Watch = {
    ...watch,
    repeating,
    barren,
    broken: 0,
    asked,
    found: asked || isRepeated ? watch.found : null,
    recent: [{ call, output }, ...recent].slice(0, REMEMBERED_TURNS),
  }
  const patience = ms >= WAITING_MS ? WAITING_TIMES : 1
  return {
    ...ended,
    due: finding(ended, 'repeating', patience) ?? finding(ended, 'barren', patience),
  }
}

/** A reply that is not whole says nothing about the work, so it neither adds to its patterns nor ends them. */
function endBrokenTurn(watch: Watch, pattern: Broken): Watch {
  const broken = watch.broken + 1
  const due = broken < MOST.broken ? null : ending(pattern, broken, '')
  return { ...watch, broken, due }
}

function finding(watch: Watch, pattern: 'repeating' | 'barren', patience: number): Stuck | null {
  const times = watch[pattern]
  const what = seen(pattern, times)
  if (times >= MOST[pattern] * patience) {
    return watch.asked
      ? ending(pattern, times, ', although it was asked for another approach')
      : {
          pattern,
          times,
          action: 'reflection',
          message: `You make no progress: ${what}. ${REFLECTION}`,
        }
  }
  return pattern === 'repeating' && times === HINT_TIMES
    ? { pattern, times, action: 'hint', message: `${capitalized(what)}. ${HINT}` }
    : null
}

const seen = (pattern: Pattern, times: number): string => SEEN[pattern].replace('#', String(times))

const ending = (pattern: Pattern, times: number, anyway: string): Stuck => ({
  pattern,
  times,
  action: 'end',
  message: `Stopped because the agent makes no progress: ${seen(pattern, times)}${anyway}`,
})

const HINT =
  'They will have the same result again. Use what you know, or find out something else. If you wait for something, wait longer in one command.'

const REFLECTION =
  'Before your next call, say in a few sentences what you know, why this did not work, and what you will do differently. Then take another approach. If you make no progress again, the run ends.'

/** A call as a text. The comments and the white space of a command do not make it another one. */
function textOf({ tool, args, raw_args = '' }: RequestedCall): string {
  const plain = (name: string, value: unknown) =>
    name === 'command' && typeof value === 'string'
      ? value.replace(/(^|\s)#[^\n]*/g, '').replace(/\s+/g, ' ')
      : value
  return `${tool} ${JSON.stringify(args, plain)} ${raw_args}`
}

/** A number with what follows it directly, such as its unit. */
const NUMBERS = /[\d:][\d:A-Za-z.,]*/g

/** Durations, times of day, dates, and seconds since the epoch. */
const TIMES =
  /\b\d[\d.,]*\s?(?:[mnµu]?s|secs?|seconds?|m|min|minutes?|h|hours?)\b|\d{4}-\d\d-\d\d|\d+(?::\d\d)+(?:[.,]\d+)?|\d{10,}/g

/** A number of 53 bits that equal texts share, and different ones hardly ever. Not for secrets. */
function digestOf(text: string, seed: number): number {
  let low = seed ^ 0x811c9dc5
  let high = (seed / 0x1_0000_0000) ^ 0x41c6ce57
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    low = Math.imul(low ^ code, 0x01000193)
    high = Math.imul(high ^ code, 0x5bd1e995)
  }
  low ^= Math.imul(high ^ (high >>> 15), 0x2c1b3c6d)
  return (high & 0x1f_ffff) * 0x1_0000_0000 + (low >>> 0)
}
