import { BrokenInvariant } from './errors.ts'
import type { PayloadOf, RunRecord } from './records.ts'

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
    }
  | { readonly role: 'tool'; readonly callId: string; readonly content: string }

/** One reply of the model, the results of its calls, and the feedback to it. */
type Turn = {
  readonly reply: PayloadOf<'assistant_message'>
  readonly results: readonly PayloadOf<'tool_result'>[]
  readonly feedback: readonly string[]
}

/** The whole conversation of a run, folded from its records. */
export type Conversation = {
  readonly system: string
  readonly opening: string
  readonly turns: readonly Turn[]
}

function open({ config, system_prompt }: PayloadOf<'run_created'>): Conversation {
  return {
    system: system_prompt,
    opening: `Work towards the goal ${config.goal} in the project at ${config.cwd}.`,
    turns: [],
  }
}

function goalFeedback({ achieved, reason, details }: PayloadOf<'goal_check'>): string {
  const verdict = achieved ? 'reached' : 'not reached yet'
  return [`The goal was checked: ${verdict}. ${reason}`, details].filter(Boolean).join('\n\n')
}

function changeLast(conversation: Conversation, change: (turn: Turn) => Turn): Conversation {
  const last = conversation.turns.at(-1)
  if (last === undefined) throw new BrokenInvariant('an outcome comes before any reply')
  return { ...conversation, turns: [...conversation.turns.slice(0, -1), change(last)] }
}

/** Folds one record into the conversation; `null` is the conversation before `run_created`. */
export function converse(conversation: Conversation | null, record: RunRecord): Conversation {
  if (conversation === null) {
    if (record.kind === 'run_created') return open(record.payload)
    throw new BrokenInvariant(`a run begins with run_created, not ${record.kind}`)
  }
  const say = (text: string): Conversation =>
    changeLast(conversation, (turn) => ({ ...turn, feedback: [...turn.feedback, text] }))
  switch (record.kind) {
    case 'assistant_message': {
      const turn: Turn = { reply: record.payload, results: [], feedback: [] }
      return { ...conversation, turns: [...conversation.turns, turn] }
    }
    case 'tool_result':
      return changeLast(conversation, (turn) => ({
        ...turn,
        results: [...turn.results, record.payload],
      }))
    case 'goal_check':
      return say(goalFeedback(record.payload))
    case 'human_check_response':
      return record.payload.reason === null
        ? conversation
        : say(
            `A person looked at the run and decided to ${record.payload.decision}: ${record.payload.reason}`,
          )
    default:
      return conversation
  }
}

function resultText({ output, outcome, exit_code }: PayloadOf<'tool_result'>): string {
  const code = exit_code === null ? '' : `, exit code ${exit_code}`
  return outcome === 'ok' ? output : `[${outcome}${code}]\n${output}`
}

function turnMessages({ reply, results, feedback }: Turn): ChatMessage[] {
  const calls = reply.tool_calls.map(({ call_id, tool, args, raw_args }) => ({
    id: call_id,
    tool,
    args: raw_args === undefined ? JSON.stringify(args) : '{}',
  }))
  return [
    { role: 'assistant', content: reply.text ?? (calls.length > 0 ? null : ''), calls },
    ...results.map((result): ChatMessage => {
      return { role: 'tool', callId: result.call_id, content: resultText(result) }
    }),
    ...(feedback.length > 0 ? [{ role: 'user' as const, content: feedback.join('\n\n') }] : []),
  ]
}

/** A coarse estimate that needs no tokenizer: about four characters a token. */
function tokensOf(messages: readonly ChatMessage[]): number {
  const characters = messages.reduce((sum, message) => {
    const calls = message.role === 'assistant' ? JSON.stringify(message.calls).length : 0
    return sum + (message.content?.length ?? 0) + calls
  }, 0)
  return Math.ceil(characters / 4)
}

/**
 * The messages for the model: the opening and as many of the latest turns as fit into the budget (in estimated tokens),
 * at least one. A turn is kept or left out as a whole, so a call and its result stay together.
 */
export function toMessages(
  conversation: Conversation,
  budget: number,
): { readonly messages: readonly ChatMessage[]; readonly omittedTurns: number } {
  const { turns } = conversation
  let left = budget - tokensOf(headOf(conversation))
  let first = turns.length
  for (const turn of turns.toReversed()) {
    const size = tokensOf(turnMessages(turn))
    if (size > left && first < turns.length) break
    left -= size
    first -= 1
  }
  return { messages: messagesWithout(conversation, first), omittedTurns: first }
}

/** The messages for the model without the first `omittedTurns` turns. */
export function messagesWithout(
  conversation: Conversation,
  omittedTurns: number,
): readonly ChatMessage[] {
  const note = omittedTurns === 0 ? [] : [omissionNote(omittedTurns)]
  const turns = conversation.turns.slice(omittedTurns).flatMap(turnMessages)
  return [...headOf(conversation), ...note, ...turns]
}

function headOf({ system, opening }: Conversation): ChatMessage[] {
  return [
    { role: 'system', content: system },
    { role: 'user', content: opening },
  ]
}

function omissionNote(turns: number): ChatMessage {
  return {
    role: 'user',
    content: `[${turns} earlier turns are left out here. Look at the project itself for what they did.]`,
  }
}
