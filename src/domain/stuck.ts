import type { PayloadOf, RequestedCall, Stuck } from './records.ts'
import { capitalized, stripTerminalCodes } from './texts.ts'

/** Patterns that are still looked for; records of earlier versions name others. */
type Pattern = Exclude<Stuck['pattern'], 'alternating' | 'failing'>

/**
 * After how many turns in a row a pattern is answered: with a hint, by asking for another approach, or with the end of
 * the run. Once the agent was asked, the smallest of them ends the run. Replies that are not whole are counted on their own.
 */
const LIMITS: {
  readonly [P in Pattern]: {
    readonly hint?: number
    readonly reflection?: number
    readonly end?: number
  }
} = {
  repeating: { hint: 3, reflection: 5 },
  circling: { reflection: 8 },
  barren: { reflection: 40 },
  idle: { reflection: 3 },
  malformed: { end: 5 },
  empty: { end: 5 },
  cut: { end: 5 },
  refused: { end: 3 },
}
/** What the agent and people read about a pattern, with the number of turns in the place of `#`. */
const SEEN: { readonly [P in Pattern]: string } = {
  repeating: 'the same calls had the same results # times in a row',
  circling: 'the last # turns were all as turns before them',
  barren: 'the last # turns changed nothing, and had no result that was new',
  idle: 'the last # replies called no tool, and nothing changed',
  malformed: 'the calls of # replies in a row were not valid',
  empty: '# replies in a row were empty',
  cut: '# replies in a row were cut off',
  refused: '# replies in a row were refusals',
}
/** An agent whose calls take as long may be waiting for something, so it may repeat itself more often. */
const WAITING_MS = 2_000
const WAITING_TIMES = 4
/** After this many turns since it was asked for another approach, an agent with news is no longer under suspicion. */
const RECOVERED_TURNS = 20

/** In how many of the last turns something counts as seen before. */
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
  /** How many of the last turns were equal, or were as one of those before. */
  readonly same: number
  readonly circling: number
  /** How many of the last turns had no new result, and changed nothing. */
  readonly barren: number
  /** How many of the last replies were not whole, in the same way. */
  readonly broken: { readonly pattern: Pattern; readonly times: number } | null
  /** What holds after the last turn, until it is recorded. */
  readonly due: Stuck | null
  /** The turns since the agent was asked for another approach; null if it was not, or recovered. */
  readonly asked: number | null
  /** What was recorded last, until a person speaks or the agent recovers. */
  readonly found: Pick<Stuck, 'pattern' | 'times' | 'action'> | null
  /** Why the run ends, if it does. */
  readonly over: string | null
}

const NO_CALLS: Watch['turn'] = { call: 0, output: 0, acts: false, calls: 0, rejected: 0, ms: 0 }

export const UNSUSPICIOUS: Watch = {
  turn: NO_CALLS,
  recent: [],
  same: 0,
  circling: 0,
  barren: 0,
  broken: null,
  due: null,
  asked: null,
  found: null,
  over: null,
}

const BROKEN: Readonly<Record<string, Pattern>> = {
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
      return { ...UNSUSPICIOUS, asked: 0, found }
    case 'end':
      return { ...watch, due: null, found, over: message }
  }
}

function endTurn(watch: Watch): Watch {
  const { turn, recent } = watch
  const { call, output } = turn
  const before = afterAsking(watch)
  const isWaiting = turn.ms >= WAITING_MS
  const isLike = (past: Done | undefined): boolean => past?.call === call && past.output === output
  const isOther = !isLike(recent[0])
  const isNews =
    !recent.some((past) => past.output === output) ||
    (turn.acts && !recent.some((past) => past.call === call))
  const ended = {
    ...before,
    found: isOther && before.asked === null ? null : before.found,
    recent: [{ call, output }, ...recent].slice(0, REMEMBERED_TURNS),
    same: isOther ? 1 : watch.same + 1,
    circling: recent.some(isLike) ? watch.circling + 1 : 0,
    barren: isNews ? 0 : watch.barren + 1,
    broken: null,
  }
  const due =
    finding(ended, turn.calls === 0 ? 'idle' : 'repeating', ended.same, isWaiting) ??
    finding(ended, 'circling', ended.circling, isWaiting) ??
    finding(ended, 'barren', ended.barren, isWaiting)
  return { ...ended, due }
}

/** A reply that is not whole says nothing about the work, so it neither adds to its patterns nor ends them. */
function endBrokenTurn(watch: Watch, pattern: Pattern): Watch {
  const times = watch.broken?.pattern === pattern ? watch.broken.times + 1 : 1
  const ended = { ...afterAsking(watch), broken: { pattern, times } }
  return { ...ended, due: finding(ended, pattern, times, false) }
}

function afterAsking(watch: Watch): Watch {
  if (watch.asked === null) return watch
  return watch.asked + 1 >= RECOVERED_TURNS && watch.barren === 0
    ? { ...watch, asked: null, found: null }
    : { ...watch, asked: watch.asked + 1 }
}

function finding(
  { asked }: Watch,
  pattern: Pattern,
  times: number,
  isWaiting: boolean,
): Stuck | null {
  const patience = isWaiting ? WAITING_TIMES : 1
  const { hint, reflection, end } = LIMITS[pattern]
  const what = SEEN[pattern].replace('#', String(times))
  const isBeyond = (limit = Number.POSITIVE_INFINITY) => times >= limit * patience
  const found = (action: Stuck['action'], message: string): Stuck => {
    return { pattern, times, action, message }
  }
  if (isBeyond(end) || (asked !== null && isBeyond(hint ?? reflection))) {
    const anyway = asked === null ? '' : ', although it was asked for another approach'
    return found('end', `Stopped because the agent makes no progress: ${what}${anyway}`)
  }
  if (isBeyond(reflection))
    return found('reflection', `You make no progress: ${what}. ${REFLECTION}`)
  return times === hint ? found('hint', `${capitalized(what)}. ${HINT}`) : null
}

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
