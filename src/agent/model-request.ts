import { buffer } from 'node:stream/consumers'
import type { ChatMessage } from '../domain/conversation.ts'
import { tokensOfTools } from '../domain/mcp-tools.ts'
import { withoutImage } from '../domain/sent-messages.ts'
import { modelInUse } from '../domain/state.ts'
import { sha256 } from '../lib/sha256.ts'
import type { Effects } from './effects.ts'
import type { ModelRequest } from './model/model.ts'
import type { RunSession } from './run-session.ts'

type Session = Pick<RunSession, 'state' | 'conversation'>

/** A request to the model that the run asks now. Settings that the run leaves out are the model's defaults. */
export function requestOf(
  { state, conversation }: Session,
  messages: readonly ChatMessage[],
  { toolbox }: Pick<Effects, 'toolbox'>,
): ModelRequest {
  const { reasoning_effort = null, max_output_tokens = null } = state.config
  return {
    modelName: modelInUse(state),
    messages,
    tools: [...toolbox.specs, ...conversation.tools],
    cacheKey: state.runId,
    ...(reasoning_effort === null ? {} : { effort: reasoning_effort }),
    ...(max_output_tokens === null ? {} : { maxOutputTokens: max_output_tokens }),
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

/** The most tokens of its conversation that the model in use may get, without the tools of MCP servers. */
export async function budgetOf(
  { state, conversation }: Session,
  models: Effects['models'],
): Promise<number> {
  const budget = await models.contextBudget(modelInUse(state))
  return Math.max(0, budget - tokensOfTools(conversation.tools))
}
