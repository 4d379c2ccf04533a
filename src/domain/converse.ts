import { compact } from './compaction.ts'
import {
  allMessages,
  type Conversation,
  changeLast,
  readInbox,
  say,
  type Turn,
  turnCount,
} from './conversation.ts'
import { BrokenInvariant } from './errors.ts'
import { offerTools } from './mcp-tools.ts'
import type { Kind, PayloadOf, ProviderItems, RunRecord } from './records.ts'
import type { SinceOrigin } from './snapshots.ts'
import { masksIn, REDACTED } from './texts.ts'

function open({ config, system_prompt, instructions }: PayloadOf<'run_created'>): Conversation {
  const task = `Work towards the goal ${config.goal} in the project at ${config.cwd}.`
  return {
    system: system_prompt,
    opening: instructions === undefined ? [task] : [task, `# Instructions\n${instructions}`],
    turns: null,
    takenOver: 0,
    cwd: config.cwd,
    compaction: null,
    seq: 0,
    omittedTurns: 0,
    tokens: null,
    bareTurns: 0,
    emptiedTurns: 0,
    contextTokens: null,
    inbox: [],
    readMessages: 0,
    checked: false,
    tools: [],
    excluded: config.tools?.exclude ?? [],
  }
}

const GOES_ON =
  'The work continues here, in a new run. Processes that you had started have ended, and what you had put into $HOME and $TMPDIR may be gone.'

/**
 * A run that begins from another one. What was said before stays as it was, so that providers have it in their caches and
 * take their reasoning back. What limits a request may be different for the model of this run.
 */
function goOn(
  before: Conversation,
  { config, system_prompt: system, instructions }: PayloadOf<'run_created'>,
): Conversation {
  const { cwd, tools } = config
  const moved = cwd === before.cwd ? '' : ` The project is now the folder ${cwd}.`
  const taken: Conversation = {
    ...readInbox(before, allMessages(before)),
    system,
    cwd,
    seq: 0,
    takenOver: turnCount(before),
    contextTokens: null,
    readMessages: 0,
    checked: false,
    tools: [],
    excluded: tools?.exclude ?? [],
  }
  const told = say(taken, `${GOES_ON}${moved}`)
  return instructions === undefined ? told : say(told, fromPerson(instructions), 'person')
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

/**
 * Folds one record into the conversation. Before `run_created`, it is `null`, or that of the run that this one begins
 * from, up to there.
 */
export function converse(before: Conversation | null, record: RunRecord): Conversation {
  if (record.kind === 'run_created') {
    return before === null ? open(record.payload) : goOn(before, record.payload)
  }
  if (before === null) {
    throw new BrokenInvariant(`a run begins with run_created, not ${record.kind}`)
  }
  const add: ((before: Conversation, payload: never) => Conversation) | undefined =
    ADDS[record.kind]
  const now = { ...before, seq: before.seq + 1 }
  return add?.(now, record.payload as never) ?? now
}

type Adds = {
  readonly [K in Kind]?: (before: Conversation, payload: PayloadOf<K>) => Conversation
}

/** What a conversation is after each kind of record. Other kinds change nothing. */
const ADDS: Adds = {
  project_context: (before, payload) => say(before, introduction(payload)),
  user_message: (before, { text }) => {
    return { ...before, inbox: [...before.inbox, fromPerson(text)] }
  },
  snapshot: (before, { since_origin }) => say(before, since_origin && sinceOrigin(since_origin)),
  files_rolled_back: (before, payload) => say(before, payload.count > 0 && rolledBack(payload)),
  mcp_tools_listed: (before, payload) => {
    const { tools, note } = offerTools(before.tools, payload)
    return say({ ...before, tools }, note)
  },
  llm_usage: (before, { omitted_turns, input_tokens, output_tokens }) => {
    return { ...before, omittedTurns: omitted_turns, tokens: input_tokens + output_tokens }
  },
  run_config_changed: (before, { changes: { model_name, fallback_models } }) =>
    (model_name ?? fallback_models) === undefined ? before : { ...before, contextTokens: null },
  context_compacted: (before, payload) =>
    payload.outputs_only === true
      ? { ...before, emptiedTurns: payload.turns }
      : compact(before, payload),
  llm_retry: afterFailure,
  assistant_message: addReply,
  tool_result: (before, payload) =>
    changeLast(before, (turn) => ({ ...turn, results: [...turn.results, payload] })),
  goal_check: (before, payload) => {
    return { ...say(before, goalFeedback(payload), 'check'), checked: true }
  },
  final_check: (before, { feedback }) => say(before, feedback, 'check'),
  agent_stuck: (before, { action, message }) => say(before, action !== 'end' && message),
  iteration_complete: (before) => say(before, !before.checked && NOT_CHECKED),
  human_check_response: (before, { decision, reason }) => {
    const said = `A person looked at the run and decided to ${decision}: ${reason}`
    return say(before, reason !== null && said, 'person')
  },
}

/** What others have done to the files before this run took the work up. */
const sinceOrigin = ({ count, files }: SinceOrigin): string =>
  outOfDate(
    'Others have changed files since you stopped working',
    files.map(({ path, change }) => `${change}: ${path}`),
    count,
  )

const rolledBack = ({ count, files }: PayloadOf<'files_rolled_back'>): string =>
  outOfDate(
    'A person has made files what they were at an earlier moment',
    files.map(({ path, action }) => `${action}: ${path}`),
    count,
  )

/** @param named the first of `count` files */
function outOfDate(what: string, named: readonly string[], count: number): string {
  const more = count > named.length ? [`… and ${count - named.length} more`] : []
  return `${what}. What you know of them is out of date:\n${[...named, ...more].join('\n')}`
}

const fromPerson = (text: string): string => `A person says about this run:\n${text}`

function addReply(before: Conversation, reply: PayloadOf<'assistant_message'>): Conversation {
  const conversation = readInbox(before, reply.user_messages ?? before.readMessages)
  const { notice, provider_items: items, context_tokens } = reply
  const turn: Turn = {
    reply,
    seq: conversation.seq,
    items: items !== undefined && isWhole(items) ? items : null,
    omittedTurns: conversation.omittedTurns,
    emptiedTurns: conversation.emptiedTurns,
    tokens: conversation.tokens,
    results: [],
    feedback: notice === undefined ? [] : [{ from: 'server', text: notice }],
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
  return !text.includes(REDACTED) && masksIn(text).length === 0
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
