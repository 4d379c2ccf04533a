import {
  allMessages,
  type ChatMessage,
  type Compaction,
  type Conversation,
  latestOf,
  readInbox,
  type SentImage,
  saidIn,
  turnCount,
} from './conversation.ts'
import { planLines } from './plan.ts'
import { REDACTED } from './texts.ts'
import { sent, TOO_MANY, tokensAfterReply, tokensOf, tokensOfTurn } from './turn-messages.ts'

/** The most images of a request and their bytes together. Providers refuse more, or larger ones among so many. */
const MAX_IMAGES = 20
const MAX_IMAGES_BYTES = 12 * 1024 * 1024

/**
 * The messages with the latest images. If there are too many, the older half is left out at once, because each change
 * of the beginning voids the cache of the provider.
 */
function withLatestImages(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  let shown: SentImage[] = []
  const bytesOf = () => shown.reduce((sum, { bytes }) => sum + bytes, 0)
  for (const message of messages) {
    if (message.role !== 'tool' || message.image === undefined) continue
    shown.push(message.image)
    if (shown.length <= MAX_IMAGES && bytesOf() <= MAX_IMAGES_BYTES) continue
    while (shown.length > MAX_IMAGES / 2 || bytesOf() > MAX_IMAGES_BYTES / 2) {
      if (shown.length === 1) break
      shown = shown.slice(1)
    }
  }
  const kept = new Set(shown)
  return messages.map((message) =>
    message.role === 'tool' && message.image !== undefined && !kept.has(message.image)
      ? withoutImage(message, TOO_MANY)
      : message,
  )
}

/** The message with a note in the place of its image. */
export function withoutImage(
  { image: _, ...message }: Extract<ChatMessage, { role: 'tool' }>,
  note: string,
): ChatMessage {
  return { ...message, content: `${message.content}\n${note}` }
}

/** What a request holds. `tokens` are estimated. */
type Sent = {
  readonly messages: readonly ChatMessage[]
  readonly omittedTurns: number
  readonly tokens: number
}

/** The estimated tokens of a request. @param first how many of the first turns it leaves out */
export function estimateOf(
  conversation: Conversation,
  tools: number,
  first = conversation.compaction?.turns ?? 0,
): number {
  const head = tokensOf(headOf(conversation)) + tools
  return latestOf(conversation, first).reduce(
    (tokens, turns) => tokens + tokensOfTurn(turns, conversation),
    head,
  )
}

/** The latest turns that fit, at least one. @param scale how many tokens count for each that is estimated */
export function latestWithin(conversation: Conversation, room: number, scale = 1) {
  let count = 0
  let tokens = 0
  for (const turns of latestOf(conversation, conversation.compaction?.turns ?? 0)) {
    const more = tokensOfTurn(turns, conversation)
    if (count > 0 && (tokens + more) * scale > room) break
    count += 1
    tokens += more
  }
  return { count, tokens }
}

/** How many tokens the provider counted in the last request for each that is estimated; at least 1. */
function scaleOf(conversation: Conversation, tools: number): number {
  const { turns, compaction } = conversation
  const last = turns?.turn
  // What a compaction has left out cannot be estimated any more.
  if (last === undefined || last.tokens === null) return 1
  if (last.omittedTurns < (compaction?.turns ?? 0)) return 1
  const asked = { ...conversation, emptiedTurns: last.emptiedTurns }
  const estimated = estimateOf(asked, tools, last.omittedTurns) - tokensAfterReply(last)
  return Math.max(1, last.tokens / estimated)
}

/** The tokens of the next request with the whole conversation: as its provider counts them, as far as that is known. */
export function sizeOf(conversation: Conversation, tools: number): number {
  const last = conversation.turns?.turn
  const added = last === undefined ? 0 : tokensAfterReply(last)
  const before = estimateOf(conversation, tools) - added
  return Math.round(before * scaleOf(conversation, tools)) + added
}

/** A request for a summary holds what made it due, so it may be a little larger than what makes one due. */
const SLACK = 1.05

/**
 * The messages for the model: the opening and as many of the latest turns as fit into the budget (in estimated tokens),
 * at least one. A turn is kept or left out as a whole, so a call and its result stay together; of those that are left
 * out, the words of people and the last check stay.
 * @param tools the estimated tokens of the tools in the request
 */
export function toMessages(
  unread: Conversation,
  budget: number,
  tools = 0,
  isForSummary = false,
): Sent {
  const conversation = readInbox(unread, allMessages(unread))
  const { contextTokens } = conversation
  const known = contextTokens === null ? budget : contextTokens / scaleOf(conversation, tools)
  const limit = Math.min(budget, known) * (isForSummary ? SLACK : 1)
  const isWhole = estimateOf(conversation, tools) <= limit
  const note = isWhole ? [] : omissionNote(conversation, turnCount(conversation))
  const head = tokensOf([...headOf(conversation), ...note]) + tools
  const { count, tokens } = latestWithin(conversation, limit - head)
  const omittedTurns = turnCount(conversation) - count
  const messages = messagesWithout(conversation, omittedTurns)
  return { messages, omittedTurns, tokens: head + tokens }
}

/**
 * The messages for the model without the first `omittedTurns` turns.
 * @param asked `userMessages`: how many messages of people they hold, by default all; `keepsWords`: whether what people
 *   have said in those turns, and the last check, stay, which requests of earlier versions left out
 */
export function messagesWithout(
  unread: Conversation,
  omittedTurns: number,
  asked: { readonly userMessages?: number; readonly keepsWords?: boolean } = {},
): readonly ChatMessage[] {
  const { userMessages = allMessages(unread), keepsWords = true } = asked
  const conversation = readInbox(unread, userMessages)
  const latestFirst = latestOf(conversation, omittedTurns).map(({ turn, count }) => {
    // Reasoning is bound to the conversation before it, so it is useless if that begins with another turn.
    const isBound = turn.omittedTurns === omittedTurns && count > conversation.bareTurns
    return sent(turn, isBound, count > conversation.emptiedTurns).messages
  })
  const note = omissionNote(conversation, omittedTurns, keepsWords)
  return withLatestImages([...headOf(conversation), ...note, ...latestFirst.reverse().flat()])
}

/** All that comes before the turns. */
export function headOf({ system, opening, compaction }: Conversation): ChatMessage[] {
  return [
    { role: 'system', content: system },
    { role: 'user', content: opening.join('\n\n') },
    ...(compaction === null ? [] : [compactionNote(compaction)]),
  ]
}

/** What comes in place of the turns that a compaction replaces. It says what is kept. */
function compactionNote(compaction: Compaction): ChatMessage {
  const { turns, plan, files } = compaction
  const summary = compaction.summary === REDACTED ? null : compaction.summary
  const parts = [
    `[The first ${turns} turns of this run are left out, because they had nearly filled your context window. Your task, all messages of people, what the last check found, and your latest turns are kept word for word. ` +
      `${summary === null ? 'There is no summary of the rest: look at the project itself for what was done.' : 'The rest is summarized here, by you. It is no new instruction.'}]`,
    ...(summary === null ? [] : [`# Summary\n${summary}`]),
    ...(plan === null ? [] : [`# Your plan\n${planLines(plan).join('\n')}`]),
    ...(files.length === 0 ? [] : [`# Files that you have written\n${files.join('\n')}`]),
    ...keptWords(compaction),
  ]
  return { role: 'user', content: parts.join('\n\n') }
}

const keptWords = ({ words, check }: Pick<Compaction, 'words' | 'check'>): string[] => [
  ...(words.length === 0 ? [] : [`# What people have said\n${words.join('\n\n')}`]),
  ...(check === null ? [] : [`# The last check\n${check}`]),
]

/** What comes in place of turns that no compaction replaces; nothing if there are none. */
function omissionNote(
  { turns, compaction }: Conversation,
  omittedTurns: number,
  keepsWords = true,
): ChatMessage[] {
  const compacted = compaction?.turns ?? 0
  if (omittedTurns <= compacted) return []
  const omitted = latestOf({ turns }, compacted).filter(({ count }) => count <= omittedTurns)
  const note = `[${omitted.length} earlier turns are left out here. Look at the project itself for what they did.]`
  const kept = keepsWords ? keptWords(saidIn(omitted.map(({ turn }) => turn).toReversed())) : []
  return [{ role: 'user', content: [note, ...kept].join('\n\n') }]
}
