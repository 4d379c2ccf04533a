import { within } from '../lib/promises.ts'

type Body = ReadableStream<Uint8Array<ArrayBuffer>>

/**
 * The chunks of a body as they come.
 * @param silenceMs if nothing comes for this long, the body is given up
 * @throws if the body breaks off or is given up
 */
export async function* chunksOf(
  body: Body,
  silenceMs: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await within(silenceMs, reader.read(), () => {
        throw new Error(`nothing came for ${silenceMs / 1000} s`)
      })
      if (done) return
      yield value
    }
  } finally {
    // The consumer wants no more, or the body has failed already.
    await reader.cancel().catch(() => {})
  }
}

/** A body as text; null if it has more than `maxBytes`. @throws if it breaks off */
export async function textOf(body: Body | null, maxBytes: number): Promise<string | null> {
  if (body === null) return ''
  const decoder = new TextDecoder()
  const parts: string[] = []
  let bytes = 0
  // The call limits the time of all of it.
  for await (const chunk of chunksOf(body, NEVER_MS)) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) return null
    parts.push(decoder.decode(chunk, { stream: true }))
  }
  return parts.join('') + decoder.decode()
}

/** The longest time that a timer can be set for. */
const NEVER_MS = 2 ** 31 - 1

/**
 * The lines of a body, in batches as they come.
 * @param silenceMs if nothing comes for this long, the body is given up
 * @throws if the body breaks off or is given up, or a line is longer than `answerBytes`
 */
export async function* linesOf(
  body: Body,
  { silenceMs, answerBytes }: { readonly silenceMs: number; readonly answerBytes: number },
): AsyncGenerator<readonly string[], void, undefined> {
  const decoder = new TextDecoder()
  // The pieces of a line that has not ended yet. They are joined once, because there may be very many.
  let pieces: string[] = []
  let length = 0
  for await (const chunk of chunksOf(body, silenceMs)) {
    const lines = decoder.decode(chunk, { stream: true }).split('\n')
    const rest = lines.pop() ?? ''
    const [first] = lines
    if (first !== undefined) {
      lines[0] = pieces.join('') + first
      pieces = []
      length = 0
    }
    pieces.push(rest)
    length += rest.length
    if (length > answerBytes) throw new Error(`a line has more than ${answerBytes} characters`)
    if (lines.length > 0) yield lines
  }
  if (length > 0) throw new Error('the last line is not complete')
}
