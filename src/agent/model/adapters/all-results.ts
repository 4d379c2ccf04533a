import type { ChatMessage } from '../../../domain/conversation.ts'

const NO_RESULT = '[unknown] There is no result of this call. It is not known whether it ran.'

/** Adds a result to each call that has none: every provider refuses a conversation with an open call. */
export function withAllResults(messages: readonly ChatMessage[]): ChatMessage[] {
  const complete: ChatMessage[] = []
  let open: string[] = []
  for (const message of messages) {
    if (message.role === 'tool') open = open.filter((id) => id !== message.callId)
    else complete.push(...open.splice(0).map(withoutResult))
    complete.push(message)
    if (message.role === 'assistant') open = message.calls.map(({ id }) => id)
  }
  return [...complete, ...open.map(withoutResult)]
}

const withoutResult = (callId: string): ChatMessage => ({
  role: 'tool',
  callId,
  content: NO_RESULT,
})
