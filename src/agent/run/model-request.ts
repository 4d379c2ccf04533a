import { buffer } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import { budgetLeft, unaffordable } from '../../domain/budget.ts'
import {
  allMessages,
  type ChatMessage,
  type Conversation,
  turnCount,
} from '../../domain/conversation.ts'
import { tokensOfTools } from '../../domain/mcp-tools.ts'
import { modelInUse } from '../../domain/model-choice.ts'
import { NETWORK_TOOL } from '../../domain/network.ts'
import { present } from '../../domain/present.ts'
import { sizeOf, toMessages, withoutImage } from '../../domain/sent-messages.ts'
import type { RunState } from '../../domain/state.ts'
import { tokensOf } from '../../domain/turn-messages.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Attempt } from '../../live/live-parts.ts'
import type {
  ModelFailure,
  ModelPart,
  ModelReply,
  ModelRequest,
  ToolSpec,
} from '../../models/model.ts'
import type { RequestedCalls } from './calls.ts'
import type { Effects, Work } from './effects.ts'
import {
  afterFailure,
  kindOf,
  messageOf,
  type NextAttempt,
  retryPolicy,
  type SentRequest,
  type Unaffordable,
  usageOf,
} from './model-outcome.ts'
import type { StepResult } from './session.ts'

type Asked = {
  readonly conversation: Conversation
  /** The most tokens of the request. */
  readonly budget: number
  /** What is asked besides the next reply. It comes after the conversation, and is not a part of it. */
  readonly aside?: {
    readonly question: string
    readonly purpose: NonNullable<SentRequest['purpose']>
  }
  readonly onPart?: (part: ModelPart) => void
}

/** Records the model's next reply, or why it gave none. */
export async function callModel(
  work: Work,
  budget: number,
  attempt: Attempt,
  requested: RequestedCalls,
): Promise<StepResult> {
  const { session, signal } = work
  const { conversation } = session
  const { reply, sent } = await askModel(
    work,
    { conversation, budget, onPart: writeReply(attempt) },
    signal,
  )
  if (signal.aborted) return err({ type: 'cancelled' })
  if (reply.isOk()) {
    const assistant_message = messageOf(reply.value, sent, allMessages(conversation))
    requested.keep(assistant_message.tool_calls)
    return session.record({ type: 'record', made: { llm_usage: sent.usage, assistant_message } })
  }
  const failure = reply.error
  if (failure.type === 'cancelled') return err({ type: 'cancelled' })
  attempt.end('withdrawn')
  if (failure.type === 'unaffordable') {
    return session.record({ type: 'stop_at_limit', reason: failure.message })
  }
  // A person may have changed the models meanwhile.
  const updated = await session.update()
  if (updated.isErr()) return updated
  if (modelInUse(session.state) === sent.modelName) {
    return recordFailure(work, afterFailure(failure, retryPolicy(work, sent)))
  }
  const again = { type: 'record_retry', delayMs: 0, failure: kindOf(failure) } as const
  return session.record({ ...again, ...present({ usage: sent.usage }), reason: failure.message })
}

/** Writes the parts of a reply while it comes. */
export function writeReply(attempt: Attempt): (part: ModelPart) => void {
  const tools: string[] = []
  return (part) => {
    if (part.type === 'text' || part.type === 'reasoning') {
      return attempt.write({ of: part.type }, part.text)
    }
    const { index: call } = part
    if (part.type === 'call') tools[call] = part.tool
    const text = part.type === 'call' ? '' : part.text
    attempt.write({ of: 'arguments', call, tool: tools[call] ?? '' }, text)
  }
}

/** Sends the model in use as much of a conversation as fits. Returns the reply, and what was sent. */
export async function askModel(
  work: Work,
  { conversation, budget, aside, onPart }: Asked,
  signal: AbortSignal,
) {
  const tools = toolTokens(work)
  const isAside = aside !== undefined
  const { messages, omittedTurns, tokens } = toMessages(conversation, budget, tools, isAside)
  const shown = await withImages(work.session.state, work.effects, messages)
  const more = aside === undefined ? [] : [{ role: 'user', content: aside.question } as const]
  const request = requestOf(work, [...shown.messages, ...more])
  const isWhole = omittedTurns === (conversation.compaction?.turns ?? 0)
  const size = isWhole ? sizeOf(conversation, tools) : tokens
  const limit = await limitOf(work, request, size + tokensOf(more))
  const began = performance.now()
  const reply: Result<ModelReply, ModelFailure | Unaffordable> = limit.isErr()
    ? err(limit.error)
    : await work.effects.models.complete(
        { ...request, ...present({ maxOutputTokens: limit.value }) },
        signal,
        onPart,
      )
  const sent = {
    modelName: request.modelName,
    durationMs: Math.round(performance.now() - began),
    omittedTurns,
    keptTurns: turnCount(conversation) - omittedTurns,
    tokens: size,
    images: shown.images,
    ...present({ purpose: aside?.purpose }),
  }
  return { reply, sent: { ...sent, usage: usageOf(reply, sent) } }
}

/** The most tokens of the reply: fewer if the price could pass the limit of the run. */
async function limitOf(
  { session: { state }, effects: { models } }: Work,
  request: ModelRequest,
  inputTokens: number,
): Promise<Result<number | undefined, Unaffordable>> {
  const { max_cost_usd: left } = budgetLeft(state, state.lastAt)
  if (left === null || models.replyWithin === undefined) return ok(request.maxOutputTokens)
  const limit = await models.replyWithin(request, inputTokens, left)
  return limit.mapErr((most) => ({ type: 'unaffordable', message: unaffordable(state, most) }))
}

/** Records what comes after a failed request. Before the next attempt, it waits, unless a person changes the run. */
export async function recordFailure({ session }: Work, next: NextAttempt): Promise<StepResult> {
  const recorded = await session.record(next)
  if (recorded.isErr() || next.type !== 'record_retry') return recorded
  if (!(await session.pause(next.delayMs))) return err({ type: 'cancelled' })
  // The next attempt holds what people have said or changed, unless the wait has used up the time of the run.
  const updated = await session.update()
  return updated.isErr() ? updated : session.record({ type: 'proceed' })
}

/** A request to the model that the run asks now. Settings that the run leaves out are the model's defaults. */
function requestOf(work: Work, messages: readonly ChatMessage[]): ModelRequest {
  const { state } = work.session
  const { reasoning_effort, max_output_tokens } = state.config
  return {
    modelName: modelInUse(state),
    messages,
    tools: toolsOf(work),
    cacheKey: state.runId,
    ...present({ effort: reasoning_effort, maxOutputTokens: max_output_tokens }),
    ...present({ defaultEffort: state.defaultEffort }),
  }
}

/** The tools that the model may call. */
function toolsOf({ session: { state, conversation }, effects }: Work): readonly ToolSpec[] {
  const isWidenable = state.isolation?.level === 'namespaces' && state.config.network !== 'full'
  const own = effects.toolbox.specs.filter(
    ({ name }) => !conversation.excluded.includes(name) && (name !== NETWORK_TOOL || isWidenable),
  )
  return [...own, ...conversation.tools]
}

/** The estimated tokens of the tools in each request. */
export const toolTokens = (work: Work): number => tokensOfTools(toolsOf(work))

/** The most tokens of a request to the model in use. */
export const budgetOf = ({ session, effects }: Work): Promise<number> =>
  effects.models.contextBudget(modelInUse(session.state))

const NOT_SHOWN = '[This image is not shown: the model in use takes no such images.]'
const GONE = '[This image is not shown: it was removed, or cannot be read now.]'

/** The messages with the content of the images that the model in use is shown, and how many it is shown. */
export async function withImages(
  state: RunState,
  effects: Pick<Effects, 'models' | 'openOutput'>,
  messages: readonly ChatMessage[],
): Promise<{ readonly messages: readonly ChatMessage[]; readonly images: number }> {
  const hasImage = (message: ChatMessage) => message.role === 'tool' && message.image !== undefined
  if (!messages.some(hasImage)) return { messages, images: 0 }
  const types = (await effects.models.imageTypes?.(modelInUse(state))) ?? []
  let images = 0
  const fill = async (message: ChatMessage): Promise<ChatMessage> => {
    if (message.role !== 'tool' || message.image === undefined) return message
    const { image } = message
    if (!types.includes(image.media_type)) return withoutImage(message, NOT_SHOWN)
    const content = await contentOf(state.runId, image.sha256, effects)
    if (content === null) return withoutImage(message, GONE)
    images += 1
    return { ...message, image: { ...image, data: content.toString('base64') } }
  }
  return { messages: await Promise.all(messages.map(fill)), images }
}

/** Null if it does not exist, cannot be read, or has another hash. */
async function contentOf(
  runId: string,
  hash: string,
  { openOutput }: Pick<Effects, 'openOutput'>,
): Promise<Buffer | null> {
  try {
    const found = await openOutput(runId, hash)
    const content = found === null ? null : await buffer(found.stream)
    return content === null || sha256(content) !== hash ? null : content
  } catch {
    return null
  }
}
