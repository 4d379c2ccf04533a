import { ok } from 'neverthrow'
import * as z from 'zod'
import { present } from '../../domain/present.ts'
import { type Adapter, isObject } from '../adapter.ts'
import { ollamaWindow } from '../known-models.ts'
import type { FinishReason, ModelPart, ModelRequest } from '../model.ts'
import { JsonObject, parseJson, type ReportedCall } from '../replies.ts'
import { addressOf, bearerHeaders, type Route } from '../routing.ts'
import { postTo } from '../send.ts'
import { ApiReader, looseText, type Taken, type Told, wholeCall } from './reader.ts'
import { type Forms, plainId, written } from './sent-conversation.ts'
import { ollamaThink } from './thinking.ts'
import { functionTool } from './tool-schemas.ts'
import { ReportedUsage } from './usage.ts'

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
    messages: written(request.messages, route, FORMS),
  }
}

/** Ollama refuses the setting for a model that cannot. */
const canThink = ({ served }: Route): boolean => served?.capabilities?.includes('thinking') ?? true

/** Ollama has no ids: results follow their calls in the same order, and name the tool. */
const FORMS: Forms<object> = {
  system: (message) => message,
  user: ({ images, ...said }) => {
    const shown = images.map(({ data = '' }) => data)
    return { ...said, ...(shown.length === 0 ? {} : { images: shown }) }
  },
  assistant: ({ role, text, calls, own }) => {
    const [item] = own ?? []
    const thinking = isObject(item) ? item.thinking : undefined
    const tool_calls = calls.map(({ name, args }) => ({
      function: { name, arguments: parseJson(args).unwrapOr({}) },
    }))
    return {
      role,
      content: text ?? '',
      ...(typeof thinking === 'string' ? { thinking } : {}),
      ...(calls.length === 0 ? {} : { tool_calls }),
    }
  },
  tool: ({ role, call, content }) => ({ role, tool_name: call.name, content }),
  idOf: plainId,
}

const Call = z.object({
  function: z.object({
    name: z.string().min(1, 'it has no name'),
    arguments: z.union([JsonObject, z.string()]).nullish(),
  }),
})
/** A line of a response. The last one has the usage. */
const Line = z.looseObject({
  message: z
    .object({ content: looseText, thinking: looseText, tool_calls: z.array(Call).nullish() })
    .nullish(),
  done: z.boolean().nullish(),
  done_reason: looseText,
})
type Line = z.infer<typeof Line>

/** Reads a response of Ollama's own chat API. */
class OllamaReader extends ApiReader<Line> {
  protected readonly api = 'ollama'
  protected readonly schema = Line
  #text = ''
  #thinking = ''
  readonly #calls: ReportedCall[] = []
  #reason = ''

  take(line: Line): Taken {
    const { content, thinking, tool_calls } = line.message ?? {}
    const parts: ModelPart[] = []
    if (thinking) parts.push({ type: 'reasoning', text: thinking })
    if (content) parts.push({ type: 'text', text: content })
    this.#thinking += thinking ?? ''
    this.#text += content ?? ''
    for (const { function: called } of tool_calls ?? []) {
      const { name, arguments: args } = called
      parts.push(...wholeCall(this.#calls.length, name, args ?? {}))
      this.#calls.push({ id: null, name, args: args ?? {} })
    }
    if (line.done === true) {
      this.report(ReportedUsage.parse(line))
      this.#reason = line.done_reason ?? ''
      this.state = 'ended'
    }
    return ok(parts)
  }

  told(): Told {
    return ok({
      text: this.#text,
      calls: this.#calls,
      finishReason: FINISH[this.#reason] ?? 'stop',
      items: this.#thinking === '' ? null : [{ thinking: this.#thinking }],
    })
  }
}

/** `load`: Ollama has only loaded the model. */
const FINISH: Readonly<Record<string, FinishReason>> = { length: 'length', load: 'empty' }
