/** A line is far shorter: what is longer is no file of ours, and is not gathered in memory. */
const MAX_LINE_BYTES = 16 * 1024 * 1024

/** A line of a file; the last one may lack its line break. */
export type Line = { readonly text: string; readonly ended: boolean }

/** Splits bytes into lines. Bytes that are no UTF-8 make a line that is not `ended`. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  for await (const lines of lineBatches(chunks)) yield* lines
}

/** The same in batches, one for each chunk in which lines end: an `await` for each line costs more than the line. */
export async function* lineBatches(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<readonly Line[]> {
  let pieces: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    const from = chunk.lastIndexOf(0x0a) + 1
    if (from > 0) {
      yield endedLines(Buffer.concat([...pieces, chunk.subarray(0, from - 1)]))
      pieces = []
      bytes = 0
    }
    if (from === chunk.length) continue
    pieces.push(chunk.subarray(from))
    bytes += chunk.length - from
    if (bytes > MAX_LINE_BYTES) break
  }
  if (pieces.length > 0) yield [{ ...lineOf(Buffer.concat(pieces)), ended: false }]
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function endedLines(bytes: Buffer): Line[] {
  const { text, ended } = lineOf(bytes)
  if (ended) return text.split('\n').map((each) => ({ text: each, ended }))
  // One of them is no UTF-8: each is read by itself, so that this one is known.
  const lines: Line[] = []
  for (let from = 0; from <= bytes.length; ) {
    const end = bytes.indexOf(0x0a, from)
    const to = end === -1 ? bytes.length : end
    lines.push(lineOf(bytes.subarray(from, to)))
    from = to + 1
  }
  return lines
}

function lineOf(bytes: Buffer): Line {
  try {
    return { text: UTF8.decode(bytes), ended: true }
  } catch {
    return { text: bytes.toString(), ended: false }
  }
}
