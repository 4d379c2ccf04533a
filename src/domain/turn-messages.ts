import type { ChatMessage, Conversation, SentImage, Turn, Turns } from './conversation.ts'
import { present } from './present.ts'
import type { PayloadOf } from './records.ts'
import { REDACTED } from './texts.ts'

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

/** A turn as a request holds it. */
export function sent(turn: Turn, withItems: boolean, withOutputs: boolean): SentTurn {
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

export const TOO_MANY =
  '[This image is not shown any more, because of later ones. Read it again if you need it.]'

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

/** The tokens of a turn that came after its reply: results and what was said. */
export function tokensAfterReply({ results, feedback }: Turn): number {
  const answers = results.reduce(
    (sum, { output, image }) => sum + output.length + (image ? 4 * tokensOfImage(image) : 0),
    0,
  )
  return Math.ceil((answers + feedback.reduce((sum, { text }) => sum + text.length, 0)) / 4)
}
