import { ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { ChatMessage } from '../../domain/conversation.ts'
import { present } from '../../domain/present.ts'
import {
  type Adapter,
  type Complaint,
  isObject,
  type RawReply,
  type ReplyReader,
} from '../adapter.ts'
import { ollamaWindow } from '../known-models.ts'
import type { FinishReason, ModelPart, ModelRequest } from '../model.ts'
import { invalid, parseJson, type ReportedCall, toRequestedCalls } from '../replies.ts'
import { addressOf, bearerHeaders, type Route } from '../routing.ts'
import { postTo } from '../send.ts'
import { plainId, type SentMessage, sentConversation } from './sent-conversation.ts'
import { ollamaThink } from './thinking.ts'
import { functionTool } from './tool-schemas.ts'
import { ReportedUsage, usageOf } from './usage.ts'

/** Ollama's own chat API: a line of JSON for each piece of a reply. */
export const ollamaAdapter: Adapter = {
  framing: 'lines',
  body: toOllamaBody,
  send: postTo(({ endpoint }) => ({
    url: `${addressOf(endpoint)}/api/chat`,
    headers: bearerHeaders(endpoint),
  })),
  reader: () => new OllamaReader(),
}

/** How long Ollama keeps the model in memory after a request: commands run between two requests. */
const KEEP_ALIVE = '30m'

/** The body of Ollama's own chat API. Its OpenAI-compatible one has no way to set the context window. */
function toOllamaBody(request: ModelRequest, route: Route): object {
  const { tools, effort, maxOutputTokens } = request
  return {
    model: route.model,
    stream: true,
    keep_alive: KEEP_ALIVE,
    ...(effort === undefined || !canThink(route)
      ? {}
      : { think: ollamaThink(route.model, effort) }),
    options: { num_ctx: ollamaWindow(route), ...present({ num_predict: maxOutputTokens }) },
    ...(tools.length === 0 ? {} : { tools: tools.map(functionTool) }),
    messages: toMessages(request.messages, route),
  }
}

/** Ollama refuses the setting for a model that cannot. */
const canThink = ({ served }: Route): boolean => served?.capabilities?.includes('thinking') ?? true

/** Ollama has no ids: results follow their calls in the same order, and name the tool. */
function toMessages(messages: readonly ChatMessage[], route: Route): object[] {
  const toMessage = (message: SentMessage): object => {
    switch (message.role) {
      case 'system':
        return message
      case 'user': {
        const { images, ...said } = message
        const shown = images.map(({ data = '' }) => data)
        return { ...said, ...(shown.length === 0 ? {} : { images: shown }) }
      }
      case 'assistant': {
        const { role, text, calls, own } = message
        const [item] = own ?? []
        const thinking = isObject(item) ? item.thinking : undefined
        const tool_calls = calls.map(({ name, args }) => ({
          function: { name, arguments: parseJson(args).unwrapOr({}) },
        }))
        return {
          ...{ role, content: text ?? '' },
          ...(typeof thinking === 'string' ? { thinking } : {}),
          ...(calls.length === 0 ? {} : { tool_calls }),
        }
      }
      case 'tool':
        return { role: 'tool', tool_name: message.call.name, content: message.content }
    }
  }
  return sentConversation(messages, route, { idOf: plainId }).map(toMessage)
}

const text = z.string().nullish().catch(null)
const Call = z.object({
  function: z.object({
    name: z.string().min(1, 'it has no name'),
    arguments: z.union([z.record(z.string(), z.json()), z.string()]).nullish(),
  }),
})
/** A line of a response. The last one has the usage. */
const Line = z.looseObject({
  message: z
    .object({ content: text, thinking: text, tool_calls: z.array(Call).nullish() })
    .nullish(),
  done: z.boolean().nullish(),
  done_reason: text,
})
type Line = z.infer<typeof Line>

/** Reads a response of Ollama's own chat API. */
class OllamaReader implements ReplyReader {
  state: ReplyReader['state'] = 'open'
  #text = ''
  #thinking = ''
  readonly #calls: ReportedCall[] = []
  #last: Line | null = null

  read(message: unknown): Result<readonly ModelPart[], Complaint> {
    const line = Line.safeParse(message)
    if (!line.success) return invalid(line.error)
    const { content, thinking, tool_calls } = line.data.message ?? {}
    const parts: ModelPart[] = []
    if (thinking) parts.push({ type: 'reasoning', text: thinking })
    if (content) parts.push({ type: 'text', text: content })
    this.#thinking += thinking ?? ''
    this.#text += content ?? ''
    for (const { function: called } of tool_calls ?? []) {
      const [index, args] = [this.#calls.length, called.arguments ?? {}]
      this.#calls.push({ id: null, name: called.name, args })
      parts.push({ type: 'call', index, tool: called.name })
      const written = typeof args === 'string' ? args : JSON.stringify(args)
      parts.push({ type: 'arguments', index, text: written })
    }
    if (line.data.done === true) {
      this.#last = line.data
      this.state = 'ended'
    }
    return ok(parts)
  }

  get used() {
    return { usage: usageOf('ollama', ReportedUsage.parse(this.#last)), costUsd: null }
  }

  reply(): Result<RawReply, Complaint> {
    return ok({
      text: this.#text.trim() ? this.#text : null,
      toolCalls: toRequestedCalls(this.#calls),
      finishReason: FINISH[this.#last?.done_reason ?? ''] ?? 'stop',
      items: this.#thinking === '' ? null : [{ thinking: this.#thinking }],
      ...this.used,
    })
  }
}

/** `load`: Ollama has only loaded the model. */
const FINISH: Readonly<Record<string, FinishReason>> = { length: 'length', load: 'empty' }
