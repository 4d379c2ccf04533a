import { ok, type Result } from 'neverthrow'
import * as z from 'zod'
import type { Complaint, RawReply, ReplyReader } from '../adapter.ts'
import type { FinishReason, ModelPart } from '../model.ts'
import { invalid, type ReportedCall, toRequestedCalls } from '../reply-parts.ts'
import { ReportedUsage, usageOf } from './usage.ts'

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
export function ollamaReader(): ReplyReader {
  return new OllamaReader()
}

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

  reply(): Result<RawReply, Complaint> {
    return ok({
      text: this.#text.trim() ? this.#text : null,
      toolCalls: toRequestedCalls(this.#calls),
      finishReason: FINISH[this.#last?.done_reason ?? ''] ?? 'stop',
      items: this.#thinking === '' ? null : [{ thinking: this.#thinking }],
      usage: usageOf('ollama', ReportedUsage.parse(this.#last)),
      costUsd: null,
    })
  }
}

/** `load`: Ollama has only loaded the model. */
const FINISH: Readonly<Record<string, FinishReason>> = { length: 'length', load: 'empty' }
