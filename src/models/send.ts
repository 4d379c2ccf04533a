import { createParser } from 'eventsource-parser'
import * as z from 'zod'
import { messageOf } from '../lib/message-of.ts'
import type { Adapter, RefusedRequest } from './adapter.ts'
import { patientFetch } from './patient-fetch.ts'
import { parseJson } from './replies.ts'
import type { Route } from './routing.ts'

/** A parameter that a request can do without, such as `reasoning.summary`, and others that go with it. */
type OptionalParam = readonly [name: string, ...others: readonly string[]]

type Address = { readonly url: string; readonly headers: Readonly<Record<string, string>> }

/**
 * Makes a function that posts bodies as JSON, and posts one again without an optional parameter if the endpoint refuses
 * that. OpenAI refuses summaries and streams to organizations that are not verified; older servers refuse what they do not
 * know. What an endpoint has refused is left out of the later requests, so that these begin with the same text.
 */
export function sender(
  addressOf: (route: Route) => Address,
  params: readonly OptionalParam[] = [],
): Adapter['send'] {
  const refused = new Map<string, Set<OptionalParam>>()
  return async (body, route, signal) => {
    const place = `${route.endpoint.baseUrl} ${route.model}`
    const known = refused.get(place) ?? new Set()
    refused.set(place, known)
    for (;;) {
      // Requests that are under way at the same time are refused for the same reason.
      const left = new Set(known)
      const reduced = [...left].flat().reduce(without, body)
      const answer = await post(addressOf(route), reduced, signal)
      if (answer instanceof Response) return answer
      const param = params.find((one) => !left.has(one) && isAbout(one, answer))
      if (param === undefined) return answer
      known.add(param)
    }
  }
}

/** A body without one of its properties, or without a property of one of these. */
function without(body: object, path: string): object {
  const [first, ...rest] = path.split('.')
  const entries = Object.entries(body).flatMap(([name, value]) => {
    if (name !== first) return [[name, value]]
    return rest.length === 0 ? [] : [[name, without(value, rest.join('.'))]]
  })
  return Object.fromEntries(entries)
}

async function post(
  { url, headers }: Address,
  body: object,
  signal: AbortSignal,
): Promise<Response | RefusedRequest> {
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

const Refusal = z.object({ param: z.string() })
const Wrapped = z.object({ error: Refusal })

/** Some endpoints name the parameter in a property, others only in their text. */
function isAbout([name]: OptionalParam, { status, body }: RefusedRequest): boolean {
  if (![400, 422].includes(status)) return false
  const { param } = Wrapped.safeParse(body).data?.error ?? Refusal.safeParse(body).data ?? {}
  if (param !== undefined) return param === name
  return name.includes('_') && JSON.stringify(body).includes(name)
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
    // Some endpoints answer a request for a stream with one JSON text, and some name no type.
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
