import {
  allMessages,
  type Compaction,
  type Conversation,
  latestOf,
  readInbox,
  saidIn,
  type Turn,
  type Turns,
  turnCount,
} from './conversation.ts'
import { writtenFiles } from './file-changes.ts'
import { type Plan, planOf } from './plan.ts'
import type { PayloadOf, RequestedCall } from './records.ts'
import { estimateOf, headOf, latestWithin, sizeOf } from './sent-messages.ts'
import { tokensOf } from './turn-messages.ts'

/** The part of the room for turns that the latest keep. Much is left out at once, because each time a cache is lost. */
const KEPT_SHARE = 0.2
/** A compaction that makes less room than this part of the budget is not worth its price. */
const WORTH_SHARE = 0.2
/** Old outputs are left out first if then this part of the room for turns is free: it costs nothing, but a cache as well. */
const OUTPUTS_SHARE = 0.3
/** The most files that are named. */
const MAX_FILES = 100

/** What to leave out of the conversation: the first turns, up to the record of a reply; 0 for one that was taken over. */
export type DueCompaction = {
  readonly turns: number
  readonly upTo: number
  readonly tokensBefore: number
  /** Whether it is enough to leave out the outputs of their calls. */
  readonly outputsOnly: boolean
}

/**
 * Whether the conversation is to be made shorter before the next request, because it would have more tokens than the
 * budget. Null if it is not, or if that would make too little room.
 * @param budget the most tokens of a request
 * @param tools the estimated tokens of its tools
 */
export function dueCompaction(
  unread: Conversation,
  budget: number,
  tools = 0,
): DueCompaction | null {
  const conversation = readInbox(unread, allMessages(unread))
  const { compaction } = conversation
  const limit = Math.min(budget, conversation.contextTokens ?? budget)
  const tokensBefore = sizeOf(conversation, tools)
  if (tokensBefore <= limit) return null
  const estimated = estimateOf(conversation, tools)
  // The provider counts other tokens than the estimate.
  const scale = tokensBefore / estimated
  const fixed = tokensOf(headOf(conversation)) + tools
  const forTurns = limit - fixed * scale
  const kept = latestWithin(conversation, forTurns * KEPT_SHARE, scale)
  const turns = turnCount(conversation) - kept.count
  if (turns <= (compaction?.turns ?? 0)) return null
  const due = { turns, upTo: seqOf(conversation, turns), tokensBefore }
  const emptied = estimateOf({ ...conversation, emptiedTurns: turns }, tools) * scale
  if (emptied <= limit - forTurns * OUTPUTS_SHARE) return { ...due, outputsOnly: true }
  const room = (estimated - kept.tokens - fixed) * scale
  return room < limit * WORTH_SHARE ? null : { ...due, outputsOnly: false }
}

/** Leaves the first turns out, and keeps of them what people said, the last check, and which files were written. */
export function compact(
  conversation: Conversation,
  { turns: count, summary }: Pick<PayloadOf<'context_compacted'>, 'turns' | 'summary'>,
): Conversation {
  const { compaction: base } = conversation
  const latestFirst = latestOf(conversation)
  const first = latestFirst.filter((turns) => turns.count <= count).map(({ turn }) => turn)
  const oldestFirst = first.toReversed()
  const said = saidIn(oldestFirst)
  const made: Compaction = {
    turns: count,
    summary,
    words: [...(base?.words ?? []), ...said.words],
    check: said.check ?? base?.check ?? null,
    files: filesOf(oldestFirst, base?.files ?? []),
    plan: lastPlan(oldestFirst) ?? base?.plan ?? null,
  }
  const latest = latestFirst.filter((turns) => turns.count > count)
  const kept = latest.reduceRight<Turns | null>((before, turns) => ({ ...turns, before }), null)
  return { ...conversation, compaction: made, turns: kept }
}

/** The calls of these turns that did what they were to do. */
const doneCalls = (turns: readonly Turn[]): readonly RequestedCall[] =>
  turns.flatMap(({ reply, results }) => {
    const done = new Set(results.flatMap((r) => (r.outcome === 'ok' ? [r.call_id] : [])))
    return reply.tool_calls.filter(({ call_id }) => done.has(call_id))
  })

/** The files that calls of these turns have written, after those that are known. */
const filesOf = (turns: readonly Turn[], known: readonly string[]): readonly string[] =>
  [...new Set([...known, ...doneCalls(turns).flatMap(writtenFiles)])].slice(-MAX_FILES)

/** The last plan that calls of these turns have noted. */
const lastPlan = (turns: readonly Turn[]): Plan | null =>
  doneCalls(turns).reduce<Plan | null>((before, call) => planOf(call) ?? before, null)

function seqOf(conversation: Conversation, count: number): number {
  const last = latestOf(conversation).find((turns) => turns.count <= count)
  return last === undefined || last.count <= conversation.takenOver ? 0 : last.turn.seq
}
