import type { ChatCompletionMessageParam } from 'openai/resources/chat/completions'
import { sha256 } from '../../../lib/sha256.ts'

/** An id in the form that Mistral wants: nine letters and digits, the same for the same id. */
export function shortId(id: string): string {
  return /^[a-zA-Z0-9]{9}$/.test(id) ? id : sha256(id).slice(0, 9)
}

const MARK = { cache_control: { type: 'ephemeral' } }

/** Marks the ends of what is to be cached: the system message, and the newest message with a text. */
export function withCacheMarks(
  messages: readonly ChatCompletionMessageParam[],
): ChatCompletionMessageParam[] {
  const newest = messages.findLastIndex(
    ({ role, content }) => role !== 'assistant' && typeof content === 'string',
  )
  return messages.map((message, index) => {
    const isEnd = message.role === 'system' || index === newest
    if (!isEnd || typeof message.content !== 'string') return message
    const part = { type: 'text', text: message.content, ...MARK }
    return { ...message, content: [part] } as ChatCompletionMessageParam
  })
}
