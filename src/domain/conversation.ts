import { BrokenInvariant } from './errors.ts'
import type { OfferedTool } from './mcp-tools.ts'
import type { Plan } from './plan.ts'
import type { PayloadOf, ProviderItems, ResultImage } from './records.ts'

/** An image in a conversation. */
export type SentImage = ResultImage & {
  readonly sha256: string
  readonly bytes: number
  /** Its content in base64, in a request that is about to be sent. */
  readonly data?: string
}

/** A message of a conversation. The adapter of a provider converts it. */
export type ChatMessage =
  | {
      readonly role: 'system' | 'user'
      readonly content: string
      readonly images?: readonly SentImage[]
    }
  | {
      readonly role: 'assistant'
      readonly content: string | null
      readonly calls: readonly {
        readonly id: string
        readonly tool: string
        readonly args: string
      }[]
      /** The same reply as its provider sent it, if it may be sent back like this. */
      readonly items?: ProviderItems
    }
  | {
      readonly role: 'tool'
      readonly callId: string
      readonly content: string
      readonly image?: SentImage
    }

export type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>

/** What the model reads after a reply and its results: words of people, what a check found, or a word of the server. */
type Feedback = { readonly from: 'person' | 'check' | 'server'; readonly text: string }

/** One reply of the model, the results of its calls, and the feedback to it. */
export type Turn = {
  readonly reply: PayloadOf<'assistant_message'>
  readonly seq: number
  /** What its provider sent, if it is known as it was. */
  readonly items: ProviderItems | null
  /** How many of the first turns the request for this reply left out. */
  readonly omittedTurns: number
  /** How many of the first turns were in that request without the outputs of their calls. */
  readonly emptiedTurns: number
  /** The tokens of its request and the reply, as the provider counts them; null if that is not known. */
  readonly tokens: number | null
  readonly results: readonly PayloadOf<'tool_result'>[]
  readonly feedback: readonly Feedback[]
}

/** The turns of a run, the latest first: adding one copies nothing, however long the run is. */
export type Turns = { readonly turn: Turn; readonly before: Turns | null; readonly count: number }

/** What comes in place of the first turns, and what of them is kept word for word. */
export type Compaction = {
  /** How many turns it replaces. */
  readonly turns: number
  /** Null if none could be made, or it was redacted. */
  readonly summary: string | null
  /** The words of people, oldest first. */
  readonly words: readonly string[]
  /** What the last check found, if it is among the turns that are left out. */
  readonly check: string | null
  /** Files that calls have written. */
  readonly files: readonly string[]
  /** The last plan that the model noted in these turns or before. */
  readonly plan: Plan | null
}

/** The conversation of a run, folded from its records. */
export type Conversation = {
  readonly system: string
  /** The task, and what was found before the first reply. */
  readonly opening: readonly string[]
  /** Null before the first reply. Without those that a compaction replaces. */
  readonly turns: Turns | null
  /** How many of the first turns are of the run that this one begins from. */
  readonly takenOver: number
  /** Where the project is. */
  readonly cwd: string
  readonly compaction: Compaction | null
  /** The seq of the last record. */
  readonly seq: number
  /** As the last `llm_usage` reports it. */
  readonly omittedTurns: number
  readonly tokens: number | null
  /** How many of the first turns are sent without the items of their provider, because it refused its own reasoning. */
  readonly bareTurns: number
  /** How many of the first turns are sent without the outputs of their calls, to make room. */
  readonly emptiedTurns: number
  /** The most tokens that a request may have, because a larger one did not fit; null if none was too large. */
  readonly contextTokens: number | null
  /** Messages of people that no request has held yet, and how many have been held. */
  readonly inbox: readonly string[]
  readonly readMessages: number
  /** Whether the goal was checked after the last reply. */
  readonly checked: boolean
  /** Of MCP servers, as the next request holds them, beside the tools of every run. */
  readonly tools: readonly OfferedTool[]
  /** The names of tools of every run that this run does without. */
  readonly excluded: readonly string[]
}

/** What the agent said in the last reply of this run, if that has no calls and is whole; null otherwise. */
export function lastWords({
  turns,
  takenOver,
}: Pick<Conversation, 'turns' | 'takenOver'>): string | null {
  if (turns === null || turns.count <= takenOver) return null
  const { tool_calls: calls, notice, text } = turns.turn.reply
  return calls.length === 0 && notice === undefined ? (text ?? '') : null
}

/** The result of a call; null if the call has none yet, or its turn is not here any more. */
export const resultOf = (
  conversation: Pick<Conversation, 'turns'>,
  callId: string,
): PayloadOf<'tool_result'> | null =>
  latestOf(conversation)
    .flatMap(({ turn }) => turn.results)
    .find(({ call_id }) => call_id === callId) ?? null

/** The number of turns of the whole run, with those that it has taken over. */
export const turnCount = ({ turns }: Pick<Conversation, 'turns'>): number => turns?.count ?? 0

/** The turns after the first ones as a list, the latest first. */
export function latestOf({ turns }: Pick<Conversation, 'turns'>, first = 0): Turns[] {
  const list: Turns[] = []
  for (let next = turns; next !== null && next.count > first; next = next.before) list.push(next)
  return list
}

/** What is kept word for word of turns that are left out, oldest first. */
export function saidIn(turns: readonly Turn[]): Pick<Compaction, 'words' | 'check'> {
  const said = turns.flatMap(({ feedback }) => feedback)
  return {
    words: said.filter(({ from }) => from === 'person').map(({ text }) => text),
    check: said.findLast(({ from }) => from === 'check')?.text ?? null,
  }
}

export function changeLast(conversation: Conversation, change: (turn: Turn) => Turn): Conversation {
  const { turns } = conversation
  if (turns === null) throw new BrokenInvariant('an outcome comes before any reply')
  return { ...conversation, turns: { ...turns, turn: change(turns.turn) } }
}

/** Adds words to the model, if there are any: after its last reply, or to the opening before its first. */
export function say(
  conversation: Conversation,
  text: string | null | undefined | false,
  from: Feedback['from'] = 'server',
): Conversation {
  if (!text) return conversation
  if (conversation.turns === null) {
    return { ...conversation, opening: [...conversation.opening, text] }
  }
  const said = { from, text }
  return changeLast(conversation, (turn) => ({ ...turn, feedback: [...turn.feedback, said] }))
}

/** Puts the messages before the reply to the request that held them. Later ones wait for the next request. */
export function readInbox(conversation: Conversation, upTo: number): Conversation {
  const held = Math.max(0, upTo - conversation.readMessages)
  const read = conversation.inbox
    .slice(0, held)
    .reduce((before, text) => say(before, text, 'person'), conversation)
  return { ...read, inbox: conversation.inbox.slice(held), readMessages: Math.max(upTo, 0) }
}

/** How many messages of people a request holds that is made now. */
export const allMessages = ({ inbox, readMessages }: Conversation): number =>
  readMessages + inbox.length
