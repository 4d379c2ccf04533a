/** A line is far shorter: what is longer is no file of ours, and is not gathered in memory. */
const MAX_LINE_BYTES = 16 * 1024 * 1024

/** A line of a file; the last one may lack its line break. */
export type Line = { readonly text: string; readonly ended: boolean }

/** Splits bytes into lines. Bytes that are no UTF-8 make a line that is not `ended`. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let pieces: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    let from = 0
    for (;;) {
      const end = chunk.indexOf(0x0a, from)
      if (end === -1) break
      yield lineOf([...pieces, chunk.subarray(from, end)])
      pieces = []
      bytes = 0
      from = end + 1
    }
    if (from === chunk.length) continue
    pieces.push(chunk.subarray(from))
    bytes += chunk.length - from
    if (bytes > MAX_LINE_BYTES) break
  }
  if (pieces.length > 0) yield { ...lineOf(pieces), ended: false }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function lineOf(pieces: readonly Uint8Array[]): Line {
  try {
    return { text: UTF8.decode(Buffer.concat(pieces)), ended: true }
  } catch {
    return { text: Buffer.concat(pieces).toString(), ended: false }
  }
}
