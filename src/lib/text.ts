/** "1 test", "2 tests". */
export const counted = (count: number, noun: string): string =>
  `${count} ${noun}${count === 1 ? '' : 's'}`

/** The words of a text, between which are blanks and line breaks. */
export const words = (text: string): string[] => text.trim().split(/\s+/)

/** The same, to look words up. */
export const wordSet = (text: string): ReadonlySet<string> => new Set(words(text))

/** ISO 8601 in UTC with milliseconds. @param ts seconds since the epoch */
export const timestamp = (ts: number): string => new Date(Math.round(ts * 1000)).toISOString()

/** A text as one word of a shell. */
export const shellWord = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** Whether a byte is inside of a UTF-8 character, not its first. */
const isContinuation = (byte: number | undefined): boolean =>
  byte !== undefined && (byte & 0xc0) === 0x80

/** The largest index up to `at` that splits no character of valid UTF-8. */
export function characterStart(bytes: Uint8Array, at: number): number {
  let index = at
  while (index > 0 && isContinuation(bytes[index])) index -= 1
  return index
}

/** The smallest index from `at` on that splits no character of valid UTF-8. */
export function nextCharacterStart(bytes: Uint8Array, at: number): number {
  let index = at
  while (isContinuation(bytes[index])) index += 1
  return index
}
