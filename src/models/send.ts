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
    yield* frames.push(piece)
    heard()
  }
  yield* frames?.rest() ?? []
}

type Frames = {
  /** Takes the next piece of a text. Returns the messages that it completes. */
  push(piece: string): readonly string[]
  /** What has come since then, if it is a message: JSON shows by itself whether it is whole. */
  rest(): readonly string[]
}

const isMessage = (text: string): boolean => text.trim() === '[DONE]' || parseJson(text).isOk()

function eventFrames(): Frames {
  const found: string[] = []
  const parser = createParser({ onEvent: ({ data }) => found.push(data) })
  const push = (piece: string) => {
    parser.feed(piece)
    return found.splice(0)
  }
  return { push, rest: () => push('\n\n').filter(isMessage) }
}

function lineFrames(): Frames {
  let open = ''
  const push = (piece: string) => {
    const lines = (open + piece).split('\n')
    open = lines.pop() ?? ''
    return lines
  }
  return { push, rest: () => [open].filter(isMessage) }
}

function wholeFrame(): Frames {
  let text = ''
  const push = (piece: string) => {
    text += piece
    return []
  }
  return { push, rest: () => [text] }
}
