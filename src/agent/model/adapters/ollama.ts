import { ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { ChatMessage } from '../../../domain/conversation.ts'
import { present } from '../../../domain/present.ts'
import {
  type Adapter,
  type Complaint,
  functionTool,
  isObject,
  type Json,
  type RawReply,
  type ReplyReader,
} from '../adapter.ts'
import { ollamaWindow } from '../known-models.ts'
import type { Effort, FinishReason, ModelPart, ModelRequest } from '../model.ts'
import { invalid, parseJson, type ReportedCall, toRequestedCalls } from '../reply-parts.ts'
import type { Route } from '../routing.ts'
import { inCallOrder, withAllResults, withImagesApart } from './all-results.ts'
import { ownItems, plainName } from './call-ids.ts'
import { postJson } from './clients.ts'
import { ReportedUsage, usageOf } from './usage.ts'

/** Ollama's own chat API: a line of JSON for each piece of a reply. */
export function ollamaAdapter(): Adapter {
  return {
    framing: 'lines',
    body: toOllamaBody,
    send: (body, { endpoint: { baseUrl, apiKey, own } }, signal) => {
      const key: Record<string, string> =
        apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }
      const headers = { ...key, ...own?.headers }
      return postJson(`${baseUrl.replace(/\/+$/, '')}/api/chat`, body, headers, signal)
    },
    reader: () => new OllamaReader(),
  }
}

/** How long Ollama keeps the model in memory after a request: commands run between two requests. */
const KEEP_ALIVE = '30m'

/** The body of Ollama's own chat API. Its OpenAI-compatible one has no way to set the context window. */
export function toOllamaBody(request: ModelRequest, route: Route): object {
  const { tools, effort, maxOutputTokens } = request
  return {
    model: route.model,
    stream: true,
    keep_alive: KEEP_ALIVE,
    ...(effort === undefined || !canThink(route) ? {} : { think: thinkOf(effort, route.model) }),
    options: { num_ctx: ollamaWindow(route), ...present({ num_predict: maxOutputTokens }) },
    ...(tools.length === 0 ? {} : { tools: tools.map(functionTool) }),
    messages: toMessages(request.messages, route),
  }
}

/** Ollama refuses the setting for a model that cannot. */
const canThink = ({ served }: Route): boolean => served?.capabilities?.includes('thinking') ?? true

/** Most models know only whether to think. */
function thinkOf(effort: Effort, model: string): boolean | string {
  if (!/gpt-oss/i.test(model)) return effort !== 'none'
  if (effort === 'none' || effort === 'minimal') return 'low'
  return effort === 'xhigh' || effort === 'max' ? 'high' : effort
}

/** Ollama has no ids: results follow their calls in the same order, and name the tool. */
function toMessages(messages: readonly ChatMessage[], route: Route): object[] {
  let names = new Map<string, string>()
  const toMessage = (message: ChatMessage): object => {
    switch (message.role) {
      case 'system':
        return { role: 'system', content: message.content }
      case 'user': {
        const { content, images = [] } = message
        const shown = images.map(({ data = '' }) => data)
        return { role: 'user', content, ...(shown.length === 0 ? {} : { images: shown }) }
      }
      case 'assistant': {
        const { content, calls } = message
        names = new Map(calls.map(({ id, tool }) => [id, plainName(tool)]))
        const tool_calls = calls.map(({ tool, args }) => ({
          function: { name: plainName(tool), arguments: parseJson(args).unwrapOr({}) },
        }))
        return {
          role: 'assistant',
          content: content ?? '',
          ...thinkingOf(ownItems(message, route)),
          ...(calls.length === 0 ? {} : { tool_calls }),
        }
      }
      case 'tool':
        return {
          role: 'tool',
          tool_name: names.get(message.callId) ?? 'unknown',
          content: message.content,
        }
    }
  }
  return withImagesApart(inCallOrder(withAllResults(messages))).map(toMessage)
}

function thinkingOf(items: readonly Json[] | null): object {
  const [item] = items ?? []
  return isObject(item) && typeof item.thinking === 'string' ? { thinking: item.thinking } : {}
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

  readWhole(message: unknown): Result<readonly ModelPart[], Complaint> {
    return this.read(message)
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
