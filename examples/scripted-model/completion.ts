import type { ScriptedRequest, Turn } from './script.ts'

/** A turn in the shape of a chat completion. Ids follow from the turn, so a repeated reply is equal. */
export function completionOf(turn: Turn, request: ScriptedRequest) {
  const calls = (turn.calls ?? []).map(({ tool, args }, index) => ({
    id: `call_${request.turn}_${index}`,
    type: 'function',
    function: { name: tool, arguments: JSON.stringify(args) },
  }))
  const message = {
    role: 'assistant',
    content: turn.text ?? null,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  }
  const finish_reason = turn.finishReason ?? (calls.length > 0 ? 'tool_calls' : 'stop')
  return {
    id: `scripted-${request.turn}`,
    object: 'chat.completion',
    created: 0,
    model: request.model,
    choices: [{ index: 0, message, finish_reason }],
    usage: usageOf(turn, request, message),
  }
}

function usageOf({ usage }: Turn, { messages }: ScriptedRequest, message: unknown) {
  const input = usage?.input ?? tokensIn(messages)
  const output = usage?.output ?? tokensIn(message)
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: usage?.cached ?? 0 },
  }
}

function tokensIn(value: unknown): number {
  return Math.ceil(JSON.stringify(value).length / 4)
}

/** The same completion as server-sent events: its text by words, its calls in two pieces each, its usage, the end. */
export function eventsOf(completion: ReturnType<typeof completionOf>): string[] {
  const { usage, choices, ...rest } = completion
  const base = { ...rest, object: 'chat.completion.chunk' }
  const chunks = choices.flatMap(({ index, message, finish_reason }) => {
    const deltas = [{ role: message.role }, ...textPieces(message.content), ...callPieces(message)]
    return [
      ...deltas.map((delta) => ({ ...base, choices: [{ index, delta, finish_reason: null }] })),
      { ...base, choices: [{ index, delta: {}, finish_reason }] },
    ]
  })
  const events = [...chunks, { ...base, choices: [], usage }].map((chunk) => JSON.stringify(chunk))
  return [...events, '[DONE]'].map((event) => `data: ${event}\n\n`)
}

function textPieces(text: string | null) {
  return (text?.match(/\s*\S+|\s+$/g) ?? []).map((content) => ({ content }))
}

function callPieces({
  tool_calls = [],
}: ReturnType<typeof completionOf>['choices'][number]['message']) {
  return tool_calls.flatMap((call, index) => {
    const { arguments: written } = call.function
    const middle = Math.ceil(written.length / 2)
    const first = { ...call.function, arguments: written.slice(0, middle) }
    return [
      { tool_calls: [{ index, ...call, function: first }] },
      { tool_calls: [{ index, function: { arguments: written.slice(middle) } }] },
    ]
  })
}
