import { buffer } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import { budgetLeft, unaffordable } from '../domain/budget.ts'
import {
  allMessages,
  type ChatMessage,
  type Conversation,
  turnCount,
} from '../domain/conversation.ts'
import { tokensOfTools } from '../domain/mcp-tools.ts'
import { failedRequests, modelInUse, nextFallback } from '../domain/model-choice.ts'
import { NETWORK_TOOL } from '../domain/network.ts'
import { present } from '../domain/present.ts'
import { sizeOf, tokensOf, toMessages, withoutImage } from '../domain/sent-messages.ts'
import { sha256 } from '../lib/sha256.ts'
import type { Attempt } from '../live/attempt.ts'
import type { Effects } from './effects.ts'
import type { ModelFailure, ModelPart, ModelReply, ModelRequest, ToolSpec } from './model/model.ts'
import {
  afterChange,
  afterFailure,
  replyRecords,
  type SentRequest,
  type Unaffordable,
} from './model-outcome.ts'
import type { RunSession, StepResult } from './run-session.ts'
import { writeReply } from './under-way.ts'

type Session = Pick<RunSession, 'state' | 'conversation'>

type Asked = {
  readonly conversation: Conversation
  /** The most tokens of the request. */
  readonly budget: number
  /** Comes after the conversation, and is not a part of it. */
  readonly question?: string
  readonly purpose?: NonNullable<SentRequest['purpose']>
  readonly onPart?: (part: ModelPart) => void
}

/** Records the model's next reply, or why it gave none. */
export async function callModel(
  session: RunSession,
  effects: Effects,
  { budget, attempt }: Pick<Asked, 'budget'> & { readonly attempt: Attempt | null },
  signal: AbortSignal,
): Promise<StepResult> {
  const { conversation } = session
  const asked = { conversation, budget, onPart: writeReply(attempt) }
  const { reply, sent } = await askModel(session, effects, asked, signal)
  if (signal.aborted) return err({ type: 'cancelled' })
  if (reply.isOk()) {
    const records = replyRecords(reply.value, { ...sent, userMessages: allMessages(conversation) })
    return session.record({ type: 'record_reply', ...records })
  }
  const failure = reply.error
  if (failure.type === 'cancelled') return err({ type: 'cancelled' })
  attempt?.end('withdrawn')
  if (failure.type === 'unaffordable') {
    return session.record({ type: 'stop_at_limit', reason: failure.message })
  }
  // A person may have changed the models meanwhile.
  const updated = await session.update()
  if (updated.isErr()) return updated
  if (modelInUse(session.state) !== sent.modelName) {
    return session.record(afterChange(failure, sent))
  }
  const { modelRetryMs: retryMs, modelAttempts: attempts } = effects
  const { leftMs, patienceMs, state } = session
  const policy = { attempts, retryMs, leftMs, patienceMs, sent, fallback: nextFallback(state) }
  const next = afterFailure(failure, { ...policy, ...failedRequests(state) })
  return recordFailure(session, next)
}

/** Sends the model in use as much of a conversation as fits. Returns the reply, and what was sent. */
export async function askModel(
  session: Session,
  effects: Effects,
  { conversation, budget, question, purpose, onPart }: Asked,
  signal: AbortSignal,
) {
  const tools = toolTokens(session, effects)
  const { messages, omittedTurns, tokens } = toMessages(
    ...([conversation, budget, tools, question !== undefined] as const),
  )
  const shown = await withImages(session, messages, effects)
  const more = question === undefined ? [] : [{ role: 'user', content: question } as const]
  const request = requestOf(session, [...shown.messages, ...more], effects)
  const isWhole = omittedTurns === (conversation.compaction?.turns ?? 0)
  const size = isWhole ? sizeOf(conversation, tools) : tokens
  const limit = await limitOf(session, request, size + tokensOf(more), effects)
  const began = performance.now()
  const reply: Result<ModelReply, ModelFailure | Unaffordable> = limit.isErr()
    ? err(limit.error)
    : await effects.models.complete(
        { ...request, ...present({ maxOutputTokens: limit.value }) },
        ...([signal, onPart] as const),
      )
  const sent: SentRequest = {
    modelName: request.modelName,
    durationMs: Math.round(performance.now() - began),
    omittedTurns,
    keptTurns: turnCount(conversation) - omittedTurns,
    tokens: size,
    images: shown.images,
    ...present({ purpose }),
  }
  return { reply, sent }
}

/** The most tokens of the reply: fewer if the price could pass the limit of the run. */
async function limitOf(
  { state }: Pick<Session, 'state'>,
  request: ModelRequest,
  inputTokens: number,
  { models }: Pick<Effects, 'models'>,
): Promise<Result<number | undefined, Unaffordable>> {
  const { max_cost_usd: left } = budgetLeft(state, state.lastAt)
  if (left === null || models.replyWithin === undefined) return ok(request.maxOutputTokens)
  const limit = await models.replyWithin(request, inputTokens, left)
  return limit.mapErr((highest) => {
    return { type: 'unaffordable', message: unaffordable(state, highest) } as const
  })
}

/** Records what comes after a failed request. Before the next attempt, it waits, unless a person changes the run. */
export async function recordFailure(
  session: RunSession,
  next: ReturnType<typeof afterFailure>,
): Promise<StepResult> {
  const recorded = await session.record(next)
  if (recorded.isErr() || next.type === 'fail') return recorded
  if (!(await session.pause(next.delayMs))) return err({ type: 'cancelled' })
  // The next attempt holds what people have said or changed, unless the wait has used up the time of the run.
  const updated = await session.update()
  return updated.isErr() ? updated : session.record({ type: 'proceed' })
}

/** A request to the model that the run asks now. Settings that the run leaves out are the model's defaults. */
function requestOf(
  { state, conversation }: Session,
  messages: readonly ChatMessage[],
  { toolbox }: Pick<Effects, 'toolbox'>,
): ModelRequest {
  const { reasoning_effort, max_output_tokens, network } = state.config
  const isWidenable = state.isolation?.level === 'namespaces' && network !== 'full'
  const isOffered = ({ name }: ToolSpec): boolean =>
    !conversation.excluded.includes(name) && (name !== NETWORK_TOOL || isWidenable)
  return {
    modelName: modelInUse(state),
    messages,
    tools: [...toolbox.specs.filter(isOffered), ...conversation.tools],
    cacheKey: state.runId,
    ...present({ effort: reasoning_effort, maxOutputTokens: max_output_tokens }),
    ...present({ defaultEffort: state.defaultEffort }),
  }
}

const NOT_SHOWN = '[This image is not shown: the model in use takes no such images.]'
const GONE = '[This image is not shown: it was removed, or cannot be read now.]'

/** The messages with the content of the images that the model in use is shown, and how many it is shown. */
export async function withImages(
  { state }: Pick<RunSession, 'state'>,
  messages: readonly ChatMessage[],
  { models, openOutput }: Pick<Effects, 'models' | 'openOutput'>,
): Promise<{ readonly messages: readonly ChatMessage[]; readonly images: number }> {
  const hasImage = (message: ChatMessage) => message.role === 'tool' && message.image !== undefined
  if (!messages.some(hasImage)) return { messages, images: 0 }
  const types = (await models.imageTypes?.(modelInUse(state))) ?? []
  let images = 0
  const fill = async (message: ChatMessage): Promise<ChatMessage> => {
    if (message.role !== 'tool' || message.image === undefined) return message
    const { image } = message
    if (!types.includes(image.media_type)) return withoutImage(message, NOT_SHOWN)
    const content = await contentOf(image.sha256, () => openOutput?.(state.runId, image.sha256))
    if (content === null) return withoutImage(message, GONE)
    images += 1
    return { ...message, image: { ...image, data: content.toString('base64') } }
  }
  return { messages: await Promise.all(messages.map(fill)), images }
}

type Opened = ReturnType<NonNullable<Effects['openOutput']>>

/** Null if it does not exist, cannot be read, or has another hash. */
async function contentOf(name: string, open: () => Opened | undefined): Promise<Buffer | null> {
  try {
    const found = await open()
    const content = found == null ? null : await buffer(found.stream)
    return content === null || sha256(content) !== name ? null : content
  } catch {
    return null
  }
}

/** The most tokens of a request to the model in use. */
export const budgetOf = ({ state }: Session, models: Effects['models']): Promise<number> =>
  models.contextBudget(modelInUse(state))

/** The estimated tokens of the tools in each request. */
export const toolTokens = (
  { conversation }: Pick<Session, 'conversation'>,
  { toolbox }: Pick<Effects, 'toolbox'>,
): number =>
  tokensOfTools([
    ...toolbox.specs.filter(({ name }) => !conversation.excluded.includes(name)),
    ...conversation.tools,
  ])
