import { createParser } from 'eventsource-parser'
import { messageOf } from '../lib/message-of.ts'
import type { Adapter } from './adapter.ts'
import { patientFetch } from './patient-fetch.ts'
import { parseJson } from './replies.ts'
import type { Route } from './routing.ts'

type Address = { readonly url: string; readonly headers: Readonly<Record<string, string>> }

/** Makes a function that posts bodies as JSON. */
export const postTo =
  (addressOf: (route: Route) => Address): Adapter['send'] =>
  async (body, route, signal) => {
    const { url, headers } = addressOf(route)
    const response = await patientFetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'retrai', ...headers },
      body: JSON.stringify(body),
      signal,
    })
    if (response.ok) return response
    const text = await response.text().catch(messageOf)
    const { status, headers: received } = response
    return { status, body: parseJson(text).unwrapOr(text), headers: received }
  }

/** More than any reply that can be recorded, including what streams add to it. */
const MAX_LENGTH = 32 * 1024 * 1024

/** The messages of a response. @param heard called after the messages of each piece */
export async function* framesOf(
  { body, headers }: Response,
  framing: Adapter['framing'],
  signal: AbortSignal,
  heard: () => void,
): AsyncGenerator<string> {
  if (body === null) return
  const type = headers.get('content-type') ?? ''
  let frames: Frames | undefined
  let length = 0
  for await (const piece of body.pipeThrough(new TextDecoderStream(), { signal })) {
    length += piece.length
    if (length > MAX_LENGTH) throw new Error(`it has more than ${MAX_LENGTH} characters`)
    // An error may come as one JSON text, and some endpoints name no type.
    const areEvents = type.includes('event-stream') || /^\s*(data|event|id|retry)?:/.test(piece)
    frames ??= framing === 'lines' ? lineFrames() : areEvents ? eventFrames() : wholeFrame()
    yield* frames(piece)
    heard()
  }
  yield* frames?.(null) ?? []
}

/**
 * Takes the next piece of a text, and returns the messages that it completes. At the end, it takes null, and returns what
 * has come since then, if that is a message: JSON shows by itself whether it is whole.
 */
type Frames = (piece: string | null) => readonly string[]

const isMessage = (text: string): boolean => text.trim() === '[DONE]' || parseJson(text).isOk()

function eventFrames(): Frames {
  const found: string[] = []
  const parser = createParser({ onEvent: ({ data }) => found.push(data) })
  return (piece) => {
    parser.feed(piece ?? '\n\n')
    const events = found.splice(0)
    return piece === null ? events.filter(isMessage) : events
  }
}

function lineFrames(): Frames {
  let open = ''
  return (piece) => {
    if (piece === null) return [open].filter(isMessage)
    const lines = (open + piece).split('\n')
    open = lines.pop() ?? ''
    return lines
  }
}

function wholeFrame(): Frames {
  let text = ''
  return (piece) => {
    text += piece ?? ''
    return piece === null ? [text] : []
  }
}
