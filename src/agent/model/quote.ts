import { processMask } from '../../log/masking.ts'

const MAX_LENGTH = 300
/** A shorter key than this is no secret, and taking it out would spoil every message. */
const MIN_KEY_LENGTH = 4

/**
 * Makes a function that turns foreign text into a short line in which none of `keys` appears, nor any
 * other secret that is known. They go before the line is shortened, which could leave a half of one.
 */
export function quoter(keys: readonly (string | undefined)[]): (text: string) => string {
  const secrets = keys
    .filter((key) => key !== undefined)
    .filter((key) => key.length >= MIN_KEY_LENGTH)
    .toSorted((a, b) => b.length - a.length)
  return (text) => {
    const masked = secrets.reduce(
      (line, key) => line.replaceAll(key, '***'),
      processMask.text(text),
    )
    const line = masked.replaceAll(/\s+/g, ' ').trim()
    return line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH)}…` : line
  }
}
