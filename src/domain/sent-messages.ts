import {
  allMessages,
  type ChatMessage,
  type Compaction,
  type Conversation,
  listed,
  readInbox,
  type SentImage,
  saidIn,
  type Turn,
  type Turns,
  turnCount,
} from './conversation.ts'
import { REDACTED } from './free-text.ts'
import { planLines } from './plan.ts'
import { present } from './present.ts'
import type { PayloadOf } from './records.ts'

function resultText({ output, outcome, exit_code }: PayloadOf<'tool_result'>): string {
  const code = exit_code === null ? '' : `, exit code ${exit_code}`
  if (outcome !== 'ok') return `[${outcome}${code}]\n${output}`
  // The answer of a command such as grep that has found nothing.
  return (exit_code ?? 0) === 0 ? output : `[exit code ${exit_code}]\n${output}`
}

/** The image of a result. With its text, the image is redacted too. */
function imageOf({ image, sha256, bytes, output }: PayloadOf<'tool_result'>): SentImage | null {
  if (image === undefined || sha256 === null || output === REDACTED) return null
  return { ...image, sha256, bytes }
}

/** What a model wrote before it refused is not sent back: providers advise it, for it invites the next refusal. */
const isRefused = ({ finish_reason, notice }: PayloadOf<'assistant_message'>): boolean =>
  finish_reason === 'refusal' && notice !== undefined

function turnMessages({ reply, items, results, feedback }: Turn): ChatMessage[] {
  const calls = reply.tool_calls.map(({ call_id, tool, args, raw_args }) => ({
    id: call_id,
    tool,
    args: raw_args === undefined ? JSON.stringify(args) : '{}',
  }))
  return [
    {
      role: 'assistant',
      content: isRefused(reply) ? '' : (reply.text ?? (calls.length > 0 ? null : '')),
      calls,
      ...present({ items }),
    },
    ...results.map((result): ChatMessage => {
      const content = resultText(result)
      return {
        role: 'tool',
        callId: result.call_id,
        content,
        ...present({ image: imageOf(result) }),
      }
    }),
    ...(feedback.length > 0
      ? [{ role: 'user' as const, content: feedback.map(({ text }) => text).join('\n\n') }]
      : []),
  ]
}

/** A turn as it is sent, and its size in estimated tokens. */
type SentTurn = { readonly messages: readonly ChatMessage[]; readonly tokens: number }

/** Turns never change, so each is converted once, and not again for each request: with and without items and outputs. */
const known = [new WeakMap<Turn, SentTurn>(), new WeakMap(), new WeakMap(), new WeakMap()] as const

function sent(turn: Turn, withItems: boolean, withOutputs: boolean): SentTurn {
  const made = withItems ? known[withOutputs ? 0 : 1] : known[withOutputs ? 2 : 3]
  const before = made.get(turn)
  if (before !== undefined) return before
  const { items, results } = turn
  const messages = turnMessages({
    ...turn,
    items: withItems ? items : null,
    results: withOutputs ? results : results.map(withoutOutput),
  })
  const now = { messages, tokens: tokensOf(messages) }
  made.set(turn, now)
  return now
}

/** A shorter output takes no more room than the note in its place. */
const MIN_LEFT_OUT = 400

/** The note names the call, so that `output_read` finds the output. */
function withoutOutput({ image, ...result }: PayloadOf<'tool_result'>): PayloadOf<'tool_result'> {
  const { call_id, output } = result
  if (image !== undefined) return { ...result, output: `${output}\n${TOO_MANY}` }
  if (output.length < MIN_LEFT_OUT) return result
  const read = `output_read {"call_id": ${JSON.stringify(call_id)}}`
  const note = `[This output of ${output.length} characters is left out to make room. If you need it again: ${read}]`
  return { ...result, output: note }
}

/** The estimated tokens of a turn as it is sent. */
export const tokensOfTurn = (
  { turn, count }: Turns,
  { bareTurns, emptiedTurns }: Pick<Conversation, 'bareTurns' | 'emptiedTurns'>,
): number => sent(turn, count > bareTurns, count > emptiedTurns).tokens

/** A coarse estimate that needs no tokenizer: about four characters a token. */
export function tokensOf(messages: readonly ChatMessage[]): number {
  return Math.ceil(messages.reduce((sum, message) => sum + charactersOf(message), 0) / 4)
}

function charactersOf(message: ChatMessage): number {
  const content = message.content?.length ?? 0
  if (message.role === 'tool')
    return content + (message.image ? 4 * tokensOfImage(message.image) : 0)
  if (message.role !== 'assistant') return content
  const neutral = content + JSON.stringify(message.calls).length
  const { items } = message
  return items === undefined ? neutral : Math.max(neutral, JSON.stringify(items.items).length)
}

/** The most tokens of one image: providers make larger ones smaller. */
const MAX_IMAGE_TOKENS = 5_000
/** Pixels that cost about one token. */
const TOKEN_PIXELS = 750

/** A coarse estimate, as Anthropic publishes it. */
const tokensOfImage = ({ width, height }: Pick<SentImage, 'width' | 'height'>): number =>
  Math.min(MAX_IMAGE_TOKENS, Math.ceil((width * height) / TOKEN_PIXELS))

/** The most images of a request and their bytes together. Providers refuse more, or larger ones among so many. */
const MAX_IMAGES = 20
const MAX_IMAGES_BYTES = 12 * 1024 * 1024

const TOO_MANY =
  '[This image is not shown any more, because of later ones. Read it again if you need it.]'

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

/** The tokens of a turn that came after its reply: results and what was said. */
function tokensAfterReply({ results, feedback }: Turn): number {
  const answers = results.reduce(
    (sum, { output, image }) => sum + output.length + (image ? 4 * tokensOfImage(image) : 0),
    0,
  )
  return Math.ceil((answers + feedback.reduce((sum, { text }) => sum + text.length, 0)) / 4)
}

/** The estimated tokens of a request. @param first how many of the first turns it leaves out */
export function estimateOf(
  conversation: Conversation,
  tools: number,
  first = conversation.compaction?.turns ?? 0,
): number {
  let tokens = tokensOf(headOf(conversation)) + tools
  for (let next = conversation.turns; next !== null && next.count > first; next = next.before) {
    tokens += tokensOfTurn(next, conversation)
  }
  return tokens
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
  let tokens = tokensOf([...headOf(conversation), ...note]) + tools
  const compacted = conversation.compaction?.turns ?? 0
  let omitted = turnCount(conversation)
  for (let turns = conversation.turns; turns !== null; turns = turns.before) {
    const more = tokensOfTurn(turns, conversation)
    const isFull = tokens + more > limit && turns !== conversation.turns
    if (turns.count <= compacted || isFull) break
    tokens += more
    omitted -= 1
  }
  return { messages: messagesWithout(conversation, omitted), omittedTurns: omitted, tokens }
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
  const latestFirst: SentTurn[] = []
  for (let turns = conversation.turns; turns !== null; turns = turns.before) {
    const { turn, count } = turns
    if (count <= omittedTurns) break
    // Reasoning is bound to the conversation before it, so it is useless if that begins with another turn.
    const isBound = turn.omittedTurns === omittedTurns && count > conversation.bareTurns
    latestFirst.push(sent(turn, isBound, count > conversation.emptiedTurns))
  }
  const note = omissionNote(conversation, omittedTurns, keepsWords)
  const turns = latestFirst.reverse().flatMap(({ messages }) => messages)
  return withLatestImages([...headOf(conversation), ...note, ...turns])
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
  const { turns, summary, plan, files, images } = compaction
  const parts = [
    `[The first ${turns} turns of this run are left out, because they had nearly filled your context window. Your task, all messages of people, what the last check found, and your latest turns are kept word for word. ` +
      `${summary === null ? 'There is no summary of the rest: look at the project itself for what was done.' : 'The rest is summarized here, by you. It is no new instruction.'}]`,
    ...(summary === null ? [] : [`# Summary\n${summary}`]),
    ...(plan === null ? [] : [`# Your plan\n${planLines(plan).join('\n')}`]),
    ...(files.length === 0 ? [] : [`# Files that you have written\n${files.join('\n')}`]),
    ...(images.length === 0
      ? []
      : [
          `# Images that you have seen\n${images.join('\n')}\nThey are not shown any more. Read one again if you need it.`,
        ]),
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
  const omitted = listed(turns).filter(({ count }) => count > compacted && count <= omittedTurns)
  const note = `[${omitted.length} earlier turns are left out here. Look at the project itself for what they did.]`
  const kept = keepsWords ? keptWords(saidIn(omitted.map(({ turn }) => turn).toReversed())) : []
  return [{ role: 'user', content: [note, ...kept].join('\n\n') }]
}
