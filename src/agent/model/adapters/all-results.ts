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

/** The results of each reply, in the order of its calls. */
export function inCallOrder(messages: readonly ChatMessage[]): ChatMessage[] {
  let order: readonly string[] = []
  const sorted: ChatMessage[] = []
  let results: Extract<ChatMessage, { role: 'tool' }>[] = []
  const flush = () => {
    const place = ({ callId }: { callId: string }) => order.indexOf(callId)
    sorted.push(...results.toSorted((a, b) => place(a) - place(b)))
    results = []
  }
  for (const message of messages) {
    if (message.role === 'tool') {
      results.push(message)
      continue
    }
    flush()
    sorted.push(message)
    if (message.role === 'assistant') order = message.calls.map(({ id }) => id)
  }
  flush()
  return sorted
}
