import type { PayloadOf, Stuck } from './records.ts'
import { type Done, type DoneCall, doneBy, mayEdit, NOTHING_DONE } from './stuck-digests.ts'

type StuckPattern = Stuck['pattern']

/**
 * After how many turns in a row a pattern is answered: with a hint, by asking for another approach, or with the end of
 * the run. Once the agent was asked, the smallest of them ends the run. Replies that are not whole are counted on their own.
 */
const LIMITS: {
  readonly [P in StuckPattern]: {
    readonly hint?: number
    readonly reflection?: number
    readonly end?: number
  }
} = {
  repeating: { hint: 3, reflection: 5 },
  alternating: { reflection: 6 },
  circling: { reflection: 8 },
  barren: { reflection: 40 },
  failing: { reflection: 8 },
  idle: { reflection: 3 },
  malformed: { end: 5 },
  empty: { end: 5 },
  cut: { end: 5 },
  refused: { end: 3 },
}
/** An agent whose calls take as long may be waiting for something, so it may repeat itself more often. */
const WAITING_MS = 2_000
const WAITING_TIMES = 4
/** After this many turns since it was asked for another approach, an agent with news is no longer under suspicion. */
const RECOVERED_TURNS = 20

/** In how many of the last turns something counts as seen before. */
const REMEMBERED_TURNS = 16

/** What is remembered of the turns of an agent, to see when it makes no progress. Its size is bounded. */
export type Watch = {
  /** The turn under way. `edits`: it may have changed files. */
  readonly turn: Done & {
    readonly edits: boolean
    readonly calls: number
    readonly failed: number
    readonly rejected: number
    readonly ms: number
  }
  /** The last turns, the latest first. */
  readonly recent: readonly Done[]
  /** How many of the last turns were equal, alternated, or were as one of those before. */
  readonly same: number
  readonly alternating: number
  readonly circling: number
  /** How many of the last turns had no new result, or failed as a whole in the same way, and changed no file. */
  readonly barren: number
  readonly failing: number
  /** How many of the last replies were not whole, in the same way. */
  readonly broken: { readonly pattern: StuckPattern; readonly times: number } | null
  /** What holds after the last turn, until it is recorded. */
  readonly due: Stuck | null
  /** The turns since the agent was asked for another approach; null if it was not, or recovered. */
  readonly asked: number | null
  /** What was recorded last, until a person speaks or the agent recovers. */
  readonly found: Pick<Stuck, 'pattern' | 'times' | 'action'> | null
  /** Why the run ends, if it does. */
  readonly over: string | null
}

const NO_CALLS = {
  ...{ ...NOTHING_DONE, edits: false, calls: 0, failed: 0, rejected: 0, ms: 0 },
} as const

export const UNSUSPICIOUS: Watch = {
  turn: NO_CALLS,
  recent: [],
  same: 0,
  alternating: 0,
  circling: 0,
  barren: 0,
  failing: 0,
  broken: null,
  due: null,
  asked: null,
  found: null,
  over: null,
}

const BROKEN: Readonly<Record<string, StuckPattern>> = {
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
  call: DoneCall,
  result: PayloadOf<'tool_result'>,
  isLast: boolean,
): Watch {
  const { edits, calls, failed, rejected, ms } = watch.turn
  const { outcome, duration_ms } = result
  const turn = {
    ...doneBy(call, result, watch.turn),
    edits: edits || mayEdit(call, result),
    calls: calls + 1,
    failed:
      failed + Number(outcome === 'error' || outcome === 'timed_out' || outcome === 'rejected'),
    rejected: rejected + Number(outcome === 'rejected'),
    ms: ms + duration_ms,
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
  const { calls, failed, call, output, exact } = turn
  const before = afterAsking(watch)
  // If a call takes long, it may print numbers that show its progress.
  const isWaiting = turn.ms >= WAITING_MS
  const hasOutputOf = (past: Done): boolean =>
    past.output === output && (!isWaiting || past.exact === exact)
  const isLike = (past: Done | undefined): boolean =>
    past !== undefined && past.call === call && hasOutputOf(past)
  const [last, beforeLast] = recent
  const isOther = !isLike(last)
  const isEdit = turn.edits && !recent.some((past) => past.call === call)
  const isNews = isEdit || !recent.some(hasOutputOf)
  const ended = {
    ...before,
    found: isOther && before.asked === null ? null : before.found,
    recent: [{ call, output, exact }, ...recent].slice(0, REMEMBERED_TURNS),
    same: isOther ? 1 : watch.same + 1,
    alternating: !isOther ? 1 : isLike(beforeLast) ? watch.alternating + 1 : 2,
    circling: recent.some(isLike) ? watch.circling + 1 : 0,
    barren: isNews ? 0 : watch.barren + 1,
    failing: calls === 0 || calls !== failed ? 0 : isNews ? 1 : watch.failing + 1,
    broken: null,
  }
  const due =
    finding(ended, calls === 0 ? 'idle' : 'repeating', ended.same, isWaiting) ??
    finding(ended, 'alternating', ended.alternating, isWaiting) ??
    finding(ended, 'circling', ended.circling, isWaiting) ??
    finding(ended, 'barren', ended.barren, isWaiting) ??
    finding(ended, 'failing', ended.failing, false)
  return { ...ended, due }
}

/** A reply that is not whole says nothing about the work, so it neither adds to its patterns nor ends them. */
function endBrokenTurn(watch: Watch, pattern: StuckPattern): Watch {
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
  pattern: StuckPattern,
  times: number,
  isWaiting: boolean,
): Stuck | null {
  const patience = isWaiting ? WAITING_TIMES : 1
  const { hint, reflection, end } = LIMITS[pattern]
  const isBeyond = (limit = Number.POSITIVE_INFINITY) => times >= limit * patience
  const found = (action: Stuck['action'], message: string): Stuck => {
    return { pattern, times, action, message }
  }
  if (isBeyond(end) || (asked !== null && isBeyond(hint ?? reflection))) {
    const anyway = asked === null ? '' : ', although it was asked for another approach'
    const message = `Stopped because the agent makes no progress: ${seen(pattern, times)}${anyway}`
    return found('end', message)
  }
  if (isBeyond(reflection)) return found('reflection', reflectionOn(pattern, times))
  return times === hint ? found('hint', `${capitalized(seen(pattern, times))}. ${HINT}`) : null
}

const HINT =
  'They will have the same result again. Use what you know, or find out something else. If you wait for something, wait longer in one command.'

const reflectionOn = (pattern: StuckPattern, times: number): string =>
  `You make no progress: ${seen(pattern, times)}. Before your next call, say in a few sentences what you know, why this did not work, and what you will do differently. Then take another approach. If you make no progress again, the run ends.`

function seen(pattern: StuckPattern, times: number): string {
  switch (pattern) {
    case 'repeating':
      return `the same calls had the same results ${times} times in a row`
    case 'alternating':
      return `the last ${times} turns alternate between the same two`
    case 'circling':
      return `the last ${times} turns were all as turns before them`
    case 'barren':
      return `the last ${times} turns changed no file, and had no result that was new`
    case 'failing':
      return `all calls of the last ${times} turns failed in the same way`
    case 'idle':
      return `the last ${times} replies called no tool, and nothing changed`
    case 'malformed':
      return `the calls of ${times} replies in a row were not valid`
    case 'empty':
      return `${times} replies in a row were empty`
    case 'cut':
      return `${times} replies in a row were cut off`
    case 'refused':
      return `${times} replies in a row were refusals`
  }
}

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
