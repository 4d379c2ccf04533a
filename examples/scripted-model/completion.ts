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

/** The same completion as server-sent events: all of it in one chunk, then its usage, then the end. */
export function streamOf(completion: ReturnType<typeof completionOf>): string {
  const { usage, choices, ...rest } = completion
  const base = { ...rest, object: 'chat.completion.chunk' }
  const chunks = choices.flatMap(({ index, message, finish_reason }) => {
    const tool_calls = message.tool_calls?.map((call, position) => ({ index: position, ...call }))
    const delta = { ...message, ...(tool_calls ? { tool_calls } : {}) }
    return [
      { ...base, choices: [{ index, delta, finish_reason: null }] },
      { ...base, choices: [{ index, delta: {}, finish_reason }] },
    ]
  })
  const events = [...chunks, { ...base, choices: [], usage }].map((chunk) => JSON.stringify(chunk))
  return [...events, '[DONE]'].map((event) => `data: ${event}\n\n`).join('')
}
