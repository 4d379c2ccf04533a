import { characterStart, nextCharacterStart } from '../../runner/bounded-text.ts'

/** Bytes of output that stand in the log; the whole of what is longer becomes an artifact. */
export const INLINE_BYTES = 16_384

/** Room for the line between head and tail. */
const MARKER_BYTES = 256

/**
 * The head and the tail of a text, with a line between them that says how many bytes are left out and
 * where the whole is. Never more than INLINE_BYTES, never a part of a character.
 * @param whole the whole text as UTF-8, longer than INLINE_BYTES
 * @param kept where the whole is, as a part of a sentence
 */
export function headAndTail(whole: Buffer, kept: string): string {
  const half = (INLINE_BYTES - MARKER_BYTES) / 2
  const headEnd = characterStart(whole, half)
  const tailStart = nextCharacterStart(whole, whole.length - half)
  const marker = `[… ${tailStart - headEnd} of ${whole.length} bytes are left out here; ${kept} …]`
  return `${whole.subarray(0, headEnd)}\n${marker}\n${whole.subarray(tailStart)}`
}
