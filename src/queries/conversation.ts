import { err, ok, type Result } from 'neverthrow'
import { replacesParts } from '../api/live-parts.ts'
import type { ChatMessage, Conversation } from '../domain/conversation.ts'
import { converse } from '../domain/converse.ts'
import { type OfferedTool, tokensOfTools } from '../domain/mcp-tools.ts'
import { modelInUse } from '../domain/model-choice.ts'
import type { PayloadOf } from '../domain/records.ts'
import { messagesWithout, toMessages, withoutImage } from '../domain/sent-messages.ts'
import type { LoggedRecord } from '../log/codec.ts'
import { type LoadedRun, load } from '../log/run-log.ts'
import type { EventStore } from '../store/event-store.ts'
import { type QueryError, whyMissing } from './run-history.ts'

/** The part of a run's conversation that one request to the model holds. */
type SentConversation = {
  readonly modelName: string
  /** `under_way`: the reply is not in the log yet. `not_sent`: no request is under way. */
  readonly request: 'answered' | 'under_way' | 'not_sent'
  /** seq of the last record that the messages follow from. */
  readonly asOf: number
  /** seq of the reply; null if there is none. */
  readonly answeredBy: number | null
  readonly messages: readonly ChatMessage[]
  readonly omittedTurns: number
  /** Of MCP servers. */
  readonly tools: readonly OfferedTool[]
  /** The tools of every run that were not offered. */
  readonly excluded: readonly string[]
}

type Deps = {
  readonly store: EventStore
  readonly contextBudget: (modelName: string) => Promise<number>
}

/**
 * The request to the model whose reply is the first one at or after the record `at`. If there is no such reply, the
 * request that the server sends now or would send next. The log holds how many turns an answered request left out, so
 * the messages are those that were sent, even if the model has another budget now.
 */
export async function sentConversation(
  runId: string,
  at: number | null,
  deps: Deps,
): Promise<Result<SentConversation, QueryError>> {
  const missing = at === null ? null : await whyMissing(deps.store, runId, at)
  if (missing !== null) return err(missing)
  let conversation: Conversation | null = null
  let usage: PayloadOf<'llm_usage'> | null = null
  let sent: SentConversation | null = null
  /** The seqs of the last record that a request follows from, and of the messages of people. */
  let asked = -1
  const messages: number[] = []
  const visit = ({ seq, record }: LoggedRecord): unknown => {
    const isReply = record.kind === 'assistant_message' && at !== null && seq >= at
    if (isReply && usage !== null && conversation !== null) {
      const { user_messages: userMessages = 0 } = record.payload
      const asOf = Math.max(asked, messages[userMessages - 1] ?? -1)
      sent = answered(conversation, usage, { seq, asOf, userMessages })
      return 'stop'
    }
    if (record.kind === 'llm_usage') usage = record.payload
    if (record.kind === 'user_message') messages.push(seq)
    if (replacesParts(record.kind)) asked = seq
    conversation = converse(conversation, record)
    return null
  }
  const run = await load(deps.store, runId, { visit })
  if (run.isErr()) return err(run.error)
  if (sent !== null) return ok(sent)
  if (run.value === null || conversation === null) return err({ type: 'run_not_found' })
  return ok(await unanswered(conversation, run.value, deps))
}

function answered(
  conversation: Conversation,
  {
    model_name: modelName,
    omitted_turns: omittedTurns,
    images = 0,
    kept_words,
  }: PayloadOf<'llm_usage'>,
  {
    seq: answeredBy,
    asOf,
    userMessages,
  }: { readonly seq: number; readonly asOf: number; readonly userMessages: number },
): SentConversation {
  const held = messagesWithout(conversation, omittedTurns, {
    userMessages,
    keepsWords: kept_words === true,
  })
  // A fallback model may take no images.
  const messages = images > 0 ? held : held.map(withoutAnyImage)
  const { tools, excluded } = conversation
  const sent = { messages, omittedTurns, tools, excluded }
  return { modelName, request: 'answered', asOf, answeredBy, ...sent }
}

const withoutAnyImage = (message: ChatMessage): ChatMessage =>
  message.role === 'tool' && message.image !== undefined
    ? withoutImage(message, '[This image was not sent.]')
    : message

async function unanswered(
  conversation: Conversation,
  { state }: LoadedRun,
  { contextBudget }: Deps,
): Promise<SentConversation> {
  const modelName = modelInUse(state)
  const { tools, excluded } = conversation
  const budget = await contextBudget(modelName)
  const { messages, omittedTurns } = toMessages(conversation, budget, tokensOfTools(tools))
  const request = state.phase.type === 'planning' ? 'under_way' : 'not_sent'
  const sent = { messages, omittedTurns, tools, excluded }
  return { modelName, request, asOf: state.seq, answeredBy: null, ...sent }
}
