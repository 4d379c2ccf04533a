import { err, ok, type Result } from 'neverthrow'
import { replacesParts } from '../api/frames.ts'
import type { SentConversation } from '../api/history.ts'
import type { ChatMessage, Conversation } from '../domain/conversation.ts'
import { converse } from '../domain/converse.ts'
import { type OfferedTool, tokensOfTools } from '../domain/mcp-tools.ts'
import { modelInUse } from '../domain/model-choice.ts'
import type { PayloadOf } from '../domain/records.ts'
import { messagesWithout, toMessages, withoutImage } from '../domain/sent-messages.ts'
import type { RunState } from '../domain/state.ts'
import type { LoggedRecord } from '../log/codec.ts'
import { beginningOf } from '../log/lineage.ts'
import { type LoadError, load, recordPages, streamOf } from '../log/run-log.ts'
import { lastEvent } from '../log/stream-pages.ts'
import type { ReadModel } from '../projections/read-model.ts'
import type { EventStore } from '../store/event-store.ts'

/** Why a query about a run failed. */
export type QueryError =
  | LoadError
  | { readonly type: 'run_not_found' }
  /** The run has no record with this seq yet. */
  | { readonly type: 'record_not_found'; readonly seq: number; readonly last: number }

type Deps = { readonly store: EventStore; readonly readModel: Pick<ReadModel, 'get'> }

/** The state of a run as of the record with this seq. */
export async function stateAt(
  runId: string,
  seq: number,
  { store, readModel }: Deps,
): Promise<Result<RunState, QueryError>> {
  const present = readModel.get(runId)
  if (present?.state.seq === seq) return ok(present.state)
  if (present === null || present.state.seq < seq) {
    const missing = await whyMissing(store, runId, seq)
    if (missing !== null) return err(missing)
  }
  const loaded = await load(store, runId, { to: seq })
  if (loaded.isErr()) return err(loaded.error)
  if (loaded.value === null) return err({ type: 'run_not_found' })
  const { state } = loaded.value
  return state.seq < seq ? err({ type: 'record_not_found', seq, last: state.seq }) : ok(state)
}

/** Calls `visit` with each record from `from` to `to`, both inclusive; fails if the run does not have them all. */
export async function walk(
  runId: string,
  [from, to]: readonly [number, number],
  { store }: Pick<Deps, 'store'>,
  visit: (logged: LoggedRecord) => void,
): Promise<Result<void, QueryError>> {
  let last = from - 1
  for await (const page of recordPages(store, runId, { after: last, to })) {
    if (page.isErr()) return err(page.error)
    for (const logged of page.value) visit(logged)
    last = page.value.at(-1)?.seq ?? last
  }
  return last < to ? err({ type: 'record_not_found', seq: to, last }) : ok(undefined)
}

/** The error that names what is missing in the log: the run, or its record with this seq. Null if the record exists. */
async function whyMissing(
  store: EventStore,
  runId: string,
  seq: number,
): Promise<QueryError | null> {
  const last = await lastEvent(store, streamOf(runId))
  if (last.isErr()) return last.error
  const { revision } = last.value
  return revision < seq ? { type: 'record_not_found', seq, last: revision } : null
}

/** The part of a run's conversation that one request to the model holds. */
type Sent = Omit<SentConversation, 'run_id' | 'messages' | 'tools'> & {
  readonly messages: readonly ChatMessage[]
  /** Of MCP servers. */
  readonly tools: readonly OfferedTool[]
  /** The tools of every run that were not offered. */
  readonly excluded: readonly string[]
}

/**
 * The request to the model whose reply is the first one at or after the record `at`. If there is no such reply, the
 * request that the server sends now or would send next. The log holds how many turns an answered request left out, so
 * the messages are those that were sent, even if the model has another budget now.
 */
export async function sentConversation(
  runId: string,
  at: number | null,
  deps: {
    readonly store: EventStore
    readonly contextBudget: (modelName: string) => Promise<number>
  },
): Promise<Result<Sent, QueryError>> {
  const missing = at === null ? null : await whyMissing(deps.store, runId, at)
  if (missing !== null) return err(missing)
  const begun = await beginningOf(deps.store, runId)
  if (begun.isErr()) return err(begun.error)
  let { conversation } = begun.value
  let usage: PayloadOf<'llm_usage'> | null = null
  let sent: Sent | null = null
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
  const budget = await deps.contextBudget(modelInUse(run.value.state))
  return ok(unanswered(conversation, run.value.state, budget))
}

function answered(
  conversation: Conversation,
  usage: PayloadOf<'llm_usage'>,
  reply: { readonly seq: number; readonly asOf: number; readonly userMessages: number },
): Sent {
  const { model_name, omitted_turns, images = 0, kept_words } = usage
  const { seq: answered_by, asOf: as_of, userMessages } = reply
  const keepsWords = kept_words === true
  const held = messagesWithout(conversation, omitted_turns, { userMessages, keepsWords })
  // A fallback model may take no images.
  const messages = images > 0 ? held : held.map(withoutAnyImage)
  const { tools, excluded } = conversation
  const sent = { messages, omitted_turns, tools, excluded }
  return { model_name, request: 'answered', as_of, answered_by, ...sent }
}

const withoutAnyImage = (message: ChatMessage): ChatMessage =>
  message.role === 'tool' && message.image !== undefined
    ? withoutImage(message, '[This image was not sent.]')
    : message

function unanswered(conversation: Conversation, state: RunState, budget: number): Sent {
  const { tools, excluded } = conversation
  const { messages, omittedTurns } = toMessages(conversation, budget, tokensOfTools(tools))
  const request = state.phase.type === 'planning' ? 'under_way' : 'not_sent'
  const sent = { messages, omitted_turns: omittedTurns, tools, excluded }
  return { model_name: modelInUse(state), request, as_of: state.seq, answered_by: null, ...sent }
}
