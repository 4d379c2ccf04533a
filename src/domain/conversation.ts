import { BrokenInvariant } from './errors.ts'
import { masksIn } from './mask/finder.ts'
import type { PayloadOf, ProviderItems, RunRecord } from './records.ts'

/** A message of a conversation. The adapter of a provider converts it. */
export type ChatMessage =
  | { readonly role: 'system' | 'user'; readonly content: string }
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
  | { readonly role: 'tool'; readonly callId: string; readonly content: string }

/** One reply of the model, the results of its calls, and the feedback to it. */
type Turn = {
  readonly reply: PayloadOf<'assistant_message'>
  /** What its provider sent, if it is known as it was. */
  readonly items: ProviderItems | null
  /** How many of the first turns the request for this reply left out. */
  readonly omittedTurns: number
  readonly results: readonly PayloadOf<'tool_result'>[]
  readonly feedback: readonly string[]
}

/** The turns of a run, the latest first: adding one copies nothing, however long the run is. */
type Turns = { readonly turn: Turn; readonly before: Turns | null; readonly count: number }

/** The whole conversation of a run, folded from its records. */
export type Conversation = {
  readonly system: string
  /** The task, and what was found before the first reply. */
  readonly opening: readonly string[]
  /** Null before the first reply. */
  readonly turns: Turns | null
  /** As the last `llm_usage` reports it. */
  readonly omittedTurns: number
  /** How many of the first turns are sent without the items of their provider, because it refused its own reasoning. */
  readonly bareTurns: number
  /** The most tokens that a request may have, because a larger one did not fit; null if none was too large. */
  readonly contextTokens: number | null
  /** Messages of people that no request has held yet, and how many have been held. */
  readonly inbox: readonly string[]
  readonly readMessages: number
  /** Whether the goal was checked after the last reply. */
  readonly checked: boolean
}

function open({ config, system_prompt, instructions }: PayloadOf<'run_created'>): Conversation {
  const task = `Work towards the goal ${config.goal} in the project at ${config.cwd}.`
  return {
    system: system_prompt,
    opening: instructions === undefined ? [task] : [task, `# Instructions\n${instructions}`],
    turns: null,
    omittedTurns: 0,
    bareTurns: 0,
    contextTokens: null,
    inbox: [],
    readMessages: 0,
    checked: false,
  }
}

/** The project as the agent is shown it before its first reply. */
function introduction({ documents, files, git, programs }: PayloadOf<'project_context'>): string {
  const parts = [
    ...documents.map(({ path, text, bytes, truncated }) => {
      const cut = truncated ? `\n[… shortened: the whole file has ${bytes} bytes …]` : ''
      return `# ${path}\n${text.trimEnd()}${cut}`
    }),
    ...(files === null ? [] : [`# Files of the project\n${files}`]),
    ...(git === null ? [] : [`# State of the repository\n${git}`]),
    ...(programs === null ? [] : [`# Programs\n${programs}`]),
  ]
  return parts.join('\n\n')
}

function goalFeedback({ achieved, reason, details }: PayloadOf<'goal_check'>): string {
  const verdict = achieved ? 'reached' : 'not reached yet'
  return [`The goal was checked: ${verdict}. ${reason}`, details].filter(Boolean).join('\n\n')
}

const NOT_CHECKED =
  'The goal was not checked again, because nothing has changed since its last check. It is not reached yet.'

export const turnCount = ({ turns }: Pick<Conversation, 'turns'>): number => turns?.count ?? 0

function changeLast(conversation: Conversation, change: (turn: Turn) => Turn): Conversation {
  const { turns } = conversation
  if (turns === null) throw new BrokenInvariant('an outcome comes before any reply')
  return { ...conversation, turns: { ...turns, turn: change(turns.turn) } }
}

/** Adds words to the model: after its last reply, or to the opening if there is none yet. */
function say(conversation: Conversation, text: string): Conversation {
  if (conversation.turns === null) {
    return { ...conversation, opening: [...conversation.opening, text] }
  }
  return changeLast(conversation, (turn) => ({ ...turn, feedback: [...turn.feedback, text] }))
}

/** Folds one record into the conversation; `null` is the conversation before `run_created`. */
export function converse(conversation: Conversation | null, record: RunRecord): Conversation {
  if (conversation === null) {
    if (record.kind === 'run_created') return open(record.payload)
    throw new BrokenInvariant(`a run begins with run_created, not ${record.kind}`)
  }
  switch (record.kind) {
    case 'project_context': {
      const text = introduction(record.payload)
      return text === '' ? conversation : say(conversation, text)
    }
    case 'user_message':
      return { ...conversation, inbox: [...conversation.inbox, fromPerson(record.payload.text)] }
    case 'llm_usage':
      return { ...conversation, omittedTurns: record.payload.omitted_turns }
    case 'llm_retry':
      return afterFailure(conversation, record.payload)
    case 'assistant_message':
      return addReply(conversation, record.payload)
    case 'tool_result':
      return changeLast(conversation, (turn) => ({
        ...turn,
        results: [...turn.results, record.payload],
      }))
    case 'goal_check':
      return { ...say(conversation, goalFeedback(record.payload)), checked: true }
    case 'agent_stuck':
      return record.payload.action === 'end'
        ? conversation
        : say(conversation, record.payload.message)
    case 'iteration_complete':
      return conversation.checked ? conversation : say(conversation, NOT_CHECKED)
    case 'human_check_response':
      return record.payload.reason === null
        ? conversation
        : say(
            conversation,
            `A person looked at the run and decided to ${record.payload.decision}: ${record.payload.reason}`,
          )
    default:
      return conversation
  }
}

const fromPerson = (text: string): string => `A person says about this run:\n${text}`

/** Puts the messages before the reply to the request that held them. Later ones wait for the next request. */
function readInbox(conversation: Conversation, upTo: number): Conversation {
  const held = Math.max(0, upTo - conversation.readMessages)
  const read = conversation.inbox.slice(0, held).reduce(say, conversation)
  return { ...read, inbox: conversation.inbox.slice(held), readMessages: Math.max(upTo, 0) }
}

function addReply(before: Conversation, reply: PayloadOf<'assistant_message'>): Conversation {
  const conversation = readInbox(before, reply.user_messages ?? before.readMessages)
  const { notice, provider_items: items, context_tokens } = reply
  const turn: Turn = {
    reply,
    items: items !== undefined && isWhole(items) ? items : null,
    omittedTurns: conversation.omittedTurns,
    results: [],
    feedback: notice === undefined ? [] : [notice],
  }
  return {
    ...conversation,
    contextTokens: context_tokens ?? conversation.contextTokens,
    turns: { turn, before: conversation.turns, count: turnCount(conversation) + 1 },
    checked: false,
  }
}

/** A provider accepts its items only as they were: a mask or a redaction in them makes them useless. */
function isWhole({ items }: ProviderItems): boolean {
  const text = JSON.stringify(items)
  return !text.includes('[redacted]') && masksIn(text).length === 0
}

/** If a provider refuses its own reasoning, it gets none of what came so far, and later reasoning is bound to that. */
function afterFailure(
  conversation: Conversation,
  { failure, context_tokens, fallback }: PayloadOf<'llm_retry'>,
): Conversation {
  // The next model may have a larger window.
  if (fallback !== undefined) return { ...conversation, contextTokens: null }
  if (context_tokens !== undefined) return { ...conversation, contextTokens: context_tokens }
  if (failure !== 'reasoning_refused') return conversation
  return { ...conversation, bareTurns: turnCount(conversation) }
}

function resultText({ output, outcome, exit_code }: PayloadOf<'tool_result'>): string {
  const code = exit_code === null ? '' : `, exit code ${exit_code}`
  return outcome === 'ok' ? output : `[${outcome}${code}]\n${output}`
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
      ...(items === null ? {} : { items }),
    },
    ...results.map((result): ChatMessage => {
      return { role: 'tool', callId: result.call_id, content: resultText(result) }
    }),
    ...(feedback.length > 0 ? [{ role: 'user' as const, content: feedback.join('\n\n') }] : []),
  ]
}

/** A turn as it is sent, and its size in estimated tokens. */
type SentTurn = { readonly messages: readonly ChatMessage[]; readonly tokens: number }

/** Turns never change, so each is converted once, and not again for each request: with its items, and without them. */
const whole = new WeakMap<Turn, SentTurn>()
const bare = new WeakMap<Turn, SentTurn>()

function sent(turn: Turn, withItems: boolean): SentTurn {
  const known = withItems ? whole : bare
  const before = known.get(turn)
  if (before !== undefined) return before
  const messages = turnMessages(withItems ? turn : { ...turn, items: null })
  const made = { messages, tokens: tokensOf(messages) }
  known.set(turn, made)
  return made
}

/** A coarse estimate that needs no tokenizer: about four characters a token. */
export function tokensOf(messages: readonly ChatMessage[]): number {
  return Math.ceil(messages.reduce((sum, message) => sum + charactersOf(message), 0) / 4)
}

function charactersOf(message: ChatMessage): number {
  const content = message.content?.length ?? 0
  if (message.role !== 'assistant') return content
  const neutral = content + JSON.stringify(message.calls).length
  const { items } = message
  return items === undefined ? neutral : Math.max(neutral, JSON.stringify(items.items).length)
}

/**
 * The messages for the model: the opening and as many of the latest turns as fit into the budget (in estimated tokens),
 * at least one. A turn is kept or left out as a whole, so a call and its result stay together.
 */
export function toMessages(
  unread: Conversation,
  budget: number,
): { readonly messages: readonly ChatMessage[]; readonly omittedTurns: number } {
  const conversation = readInbox(unread, allMessages(unread))
  const { contextTokens, bareTurns } = conversation
  let left = Math.min(budget, contextTokens ?? budget) - tokensOf(headOf(conversation))
  let omitted = turnCount(conversation)
  for (let turns = conversation.turns; turns !== null; turns = turns.before) {
    const { tokens } = sent(turns.turn, turns.count > bareTurns)
    if (tokens > left && turns !== conversation.turns) break
    left -= tokens
    omitted -= 1
  }
  return { messages: messagesWithout(conversation, omitted), omittedTurns: omitted }
}

/** How many messages of people a request holds that is made now. */
export const allMessages = ({ inbox, readMessages }: Conversation): number =>
  readMessages + inbox.length

/**
 * The messages for the model without the first `omittedTurns` turns.
 * @param userMessages how many messages of people they hold; by default all
 */
export function messagesWithout(
  unread: Conversation,
  omittedTurns: number,
  userMessages: number = allMessages(unread),
): readonly ChatMessage[] {
  const conversation = readInbox(unread, userMessages)
  const latestFirst: SentTurn[] = []
  for (let turns = conversation.turns; turns !== null; turns = turns.before) {
    const { turn, count } = turns
    if (count <= omittedTurns) break
    // Reasoning is bound to the conversation before it, so it is useless if that begins with another turn.
    const isBound = turn.omittedTurns === omittedTurns && count > conversation.bareTurns
    latestFirst.push(sent(turn, isBound))
  }
  const note = omittedTurns === 0 ? [] : [omissionNote(omittedTurns)]
  const turns = latestFirst.reverse().flatMap(({ messages }) => messages)
  return [...headOf(conversation), ...note, ...turns]
}

function headOf({ system, opening }: Conversation): ChatMessage[] {
  return [
    { role: 'system', content: system },
    { role: 'user', content: opening.join('\n\n') },
  ]
}

function omissionNote(turns: number): ChatMessage {
  return {
    role: 'user',
    content: `[${turns} earlier turns are left out here. Look at the project itself for what they did.]`,
  }
}
