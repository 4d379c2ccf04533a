/**
 * The lines of a body, in batches as they come.
 * @param silenceMs it is given up where nothing comes for so long
 * @throws where it breaks off or is given up
 */
export async function* linesOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  silenceMs: number,
): AsyncGenerator<readonly string[], void, undefined> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await inTime(reader.read(), silenceMs)
      if (done) break
      const lines = `${rest}${value}`.split('\n')
      rest = lines.pop() ?? ''
      if (lines.length > 0) yield lines
    }
  } finally {
    // Whoever leaves early wants no more; of what has failed, the failure is known.
    await reader.cancel().catch(() => {})
  }
  if (rest !== '') throw new Error('its last line has no end')
}

function inTime<T>(answer: Promise<T>, ms: number): Promise<T> {
  const { promise: silence, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`nothing came for ${ms / 1000} s`)), ms)
  return Promise.race([answer, silence]).finally(() => clearTimeout(timer))
}
