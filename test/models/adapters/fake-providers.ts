import type { Api } from '../../../src/models/routing.ts'
import { FakeGoogle, FakeOllama } from './fake-native-providers.ts'
import { FakeProvider, type Json, type Planned } from './fake-provider.ts'
import { sse } from './support.ts'

const unmarked = (value: unknown): string =>
  JSON.stringify(value, (name, part) => (name === 'cache_control' ? undefined : part))

const count = (text: string, word: string): number => text.split(word).length - 1

/** Anthropic: sides alternate, calls are answered at once, thinking is bound to what comes before it, four marks. */
class FakeAnthropic extends FakeProvider {
  /** The beginnings of requests, by the signatures that they were answered with. */
  readonly #bound = new Map<string, string>()
  protected reply(body: Json, planned: Planned, n: number): string {
    const signature = `sig+${n}/=`
    const messages = body.messages as Json[]
    this.#bound.set(signature, unmarked([body.model, body.system, body.tools, messages]))
    const block = (index: number, content_block: object, ...deltas: object[]) => [
      { type: 'content_block_start', index, content_block },
      ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
      { type: 'content_block_stop', index },
    ]
    const { text, calls, end } = planned
    const isEmpty = end === 'empty'
    const blocks = [
      (at: number) =>
        block(
          at,
          { type: 'thinking', thinking: '', signature: '' },
          { type: 'signature_delta', signature },
        ),
      ...(text && !isEmpty
        ? [(at: number) => block(at, { type: 'text', text: '' }, { type: 'text_delta', text })]
        : []),
      ...(isEmpty || end === 'paused' ? [] : calls).map(({ path }, index) => (at: number) => {
        const use = { type: 'tool_use', id: `toolu_${n}_${index}`, name: 'file_read', input: {} }
        const partial_json = JSON.stringify({ path })
        return block(at, use, { type: 'input_json_delta', partial_json })
      }),
    ]
    const stop_reason = {
      whole: calls.length > 0 ? 'tool_use' : 'end_turn',
      empty: 'end_turn',
      cut: 'max_tokens',
      refused: 'refusal',
      paused: 'pause_turn',
    }[end]
    const usage = { input_tokens: 1, output_tokens: 1 }
    return sse([
      { type: 'message_start', message: { content: [], usage } },
      ...blocks.flatMap((make, at) => make(at)),
      { type: 'message_delta', delta: { stop_reason }, usage: { output_tokens: 2 } },
      { type: 'message_stop' },
    ])
  }

  protected broken(body: Json): string | null {
    const messages = body.messages as { role: string; content: Json[] }[]
    if (count(JSON.stringify(body), '"cache_control"') > 4)
      return 'A maximum of 4 blocks with cache_control'
    const used = new Set<string>()
    for (const [at, { role, content }] of messages.entries()) {
      if (role !== (at % 2 === 0 ? 'user' : 'assistant'))
        return `messages.${at}: roles must alternate`
      const results = content.flatMap(({ type, tool_use_id }) =>
        type === 'tool_result' ? [tool_use_id] : [],
      )
      const uses = (messages[at - 1]?.content ?? []).flatMap(({ type, id }) =>
        type === 'tool_use' ? [id] : [],
      )
      if (role === 'user' && JSON.stringify(results.toSorted()) !== JSON.stringify(uses.toSorted()))
        return `messages.${at}: tool_use ids were found without tool_result blocks`
      if (content.findLastIndex(({ type }) => type === 'tool_result') >= results.length)
        return `messages.${at}: tool_result blocks must come first`
      for (const [index, block] of content.entries()) {
        if (block.type === 'text' && String(block.text).trim() === '')
          return 'text content blocks must be non-empty'
        if (block.type === 'tool_use') {
          const id = String(block.id)
          if (!/^[a-zA-Z0-9_-]+$/.test(id) || used.has(id)) return `tool_use.id ${id} is not valid`
          used.add(id)
        }
        if (block.type !== 'thinking') continue
        if (block.cache_control !== undefined) return 'thinking blocks cannot be marked'
        const bound = this.#bound.get(String(block.signature))
        const before = unmarked([body.model, body.system, body.tools, messages.slice(0, at)])
        if (bound !== before || index > 0)
          return `messages.${at}.content.${index}: Invalid \`signature\` in \`thinking\` block. The block is bound to a different conversation.`
      }
    }
    return messages.at(-1)?.role === 'user'
      ? null
      : 'This model does not support assistant message prefill'
  }
}

/** OpenAI: reasoning is its own and is followed by its item, each call has one output, nothing is stored. */
class FakeOpenAI extends FakeProvider {
  readonly #sealed = new Map<string, string>()
  protected reply(body: Json, planned: Planned, n: number): string {
    const { text, calls, end } = planned
    const sealed = `enc_${n}==`
    this.#sealed.set(sealed, String(body.model))
    const kind =
      end === 'refused'
        ? { type: 'refusal', refusal: text }
        : { type: 'output_text', text, annotations: [] }
    const output = [
      { type: 'reasoning', id: `rs_${n}`, summary: [], encrypted_content: sealed },
      ...(text && end !== 'empty'
        ? [
            {
              type: 'message',
              id: `msg_${n}`,
              role: 'assistant',
              status: 'completed',
              content: [kind],
            },
          ]
        : []),
      ...(end === 'whole' || end === 'cut' ? calls : []).map(({ path }, index) => ({
        type: 'function_call',
        id: `fc_${n}_${index}`,
        call_id: `call_${n}_${index}`,
        name: 'file_read',
        arguments: JSON.stringify({ path, lines: null }),
        status: 'completed',
      })),
    ]
    const status = end === 'cut' ? 'incomplete' : 'completed'
    const incomplete_details = end === 'cut' ? { reason: 'max_output_tokens' } : null
    const usage = { input_tokens: 1, output_tokens: 1 }
    return sse([
      ...output.map((item, output_index) => ({
        type: 'response.output_item.done',
        output_index,
        item,
      })),
      {
        type: `response.${status}`,
        response: { status, incomplete_details, output, usage, error: null },
      },
    ])
  }

  protected broken(body: Json): string | null {
    if (body.store !== false) return 'store must be false'
    const input = body.input as Json[]
    const open = new Set<string>()
    const used = new Set<string>()
    for (const [at, item] of input.entries()) {
      const id = String(item.call_id)
      const isReply = item.role === 'assistant' || item.type === 'function_call'
      if (item.type === 'reasoning') {
        if (this.#sealed.get(String(item.encrypted_content)) !== body.model)
          return 'invalid_encrypted_content'
        const next = input[at + 1]
        if (next?.type !== 'message' && next?.type !== 'function_call')
          return `Item '${item.id}' of type 'reasoning' was provided without its required following item.`
      }
      if (item.type === 'function_call') {
        if (used.has(id) || !/^[a-zA-Z0-9_-]{1,64}$/.test(id)) return `call_id ${id} is not valid`
        used.add(id)
        open.add(id)
      }
      if (item.type === 'function_call_output' && !open.delete(id))
        return `No tool call found for ${id}.`
      if (item.role === 'user' && open.size > 0) return `No tool output found for ${[...open][0]}.`
      if (isReply && String(item.content ?? 'x').trim() === '') return 'content is empty'
    }
    return open.size === 0 ? null : `No tool output found for ${[...open][0]}.`
  }
}

/** DeepSeek, with the ids of a local server, which repeat and have a colon: every reply is sent back with its reasoning, even if it is empty; each call is answered before the next message. */
class FakeDeepSeek extends FakeProvider {
  protected reply(_: Json, planned: Planned, n: number): string {
    const { text, calls, end } = planned
    const tool_calls = calls.map(({ path }, index) => ({
      index,
      id: `call:${index}`,
      type: 'function',
      function: { name: 'file_read', arguments: JSON.stringify({ path }) },
    }))
    const hasCalls = (end === 'whole' || end === 'cut') && calls.length > 0
    const delta = {
      reasoning_content: `thought ${n}`,
      ...(end === 'empty' ? {} : { content: text }),
      ...(hasCalls ? { tool_calls } : {}),
    }
    const reasons = {
      whole: hasCalls ? 'tool_calls' : 'stop',
      cut: 'length',
      refused: 'content_filter',
      paused: 'stop',
      empty: 'stop',
    }
    return sse([
      { choices: [{ index: 0, delta }] },
      { choices: [{ index: 0, delta: {}, finish_reason: reasons[end] }] },
      '[DONE]',
    ])
  }

  protected broken(body: Json): string | null {
    let open: unknown[] = []
    for (const message of body.messages as Json[]) {
      if (message.role === 'tool') {
        if (!open.includes(message.tool_call_id)) return 'a tool message answers no call'
        open = open.filter((id) => id !== message.tool_call_id)
        continue
      }
      if (open.length > 0)
        return 'an assistant message with tool_calls must be followed by tool messages'
      if (message.role !== 'assistant') continue
      if (typeof message.reasoning_content !== 'string')
        return 'The reasoning_content in the thinking mode must be passed back to the API.'
      open = ((message.tool_calls ?? []) as Json[]).map(({ id }) => id)
      if (new Set(open).size < open.length) return 'ids of calls must be distinct'
    }
    return open.length === 0 ? null : 'a call has no tool message'
  }
}

export const FAKES: Readonly<Record<Api, () => FakeProvider>> = {
  messages: () => new FakeAnthropic(),
  responses: () => new FakeOpenAI(),
  chat: () => new FakeDeepSeek(),
  gemini: () => new FakeGoogle(),
  ollama: () => new FakeOllama(),
}
