import type { ChatMessage, SentImage } from '../../../domain/conversation.ts'

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

/**
 * The images of the results of each reply in a message of the user after them, for APIs whose results hold only text.
 * If a message comes there anyway, the two are joined, because some models do not accept two user messages in sequence.
 */
export function withImagesApart(messages: readonly ChatMessage[]): ChatMessage[] {
  const all: ChatMessage[] = []
  let images: SentImage[] = []
  const flush = (content = ''): void => {
    const text = [
      `[${images.length === 1 ? 'The image' : 'The images'} of the last results]`,
      content,
    ]
    all.push({ role: 'user', content: text.filter(Boolean).join('\n\n'), images })
    images = []
  }
  for (const message of messages) {
    if (message.role === 'tool') {
      const { image, ...rest } = message
      if (image !== undefined) images.push(image)
      all.push(rest)
    } else if (images.length > 0 && message.role === 'user') flush(message.content)
    else {
      if (images.length > 0) flush()
      all.push(message)
    }
  }
  if (images.length > 0) flush()
  return all
}

/** An image as the address that OpenAI's APIs take. */
export const dataUrl = ({ media_type, data = '' }: SentImage): string =>
  `data:${media_type};base64,${data}`

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
