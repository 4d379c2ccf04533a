import fc from 'fast-check'
import { expect } from 'vitest'

/** A shorter time says more of the machine than of the text. */
const TELLING_MS = 30
/** Twice the text takes twice the time; what is quadratic takes four times as long. */
const MOST_TIMES = 3
const REPETITIONS = 4
/** The text is doubled up to its limit, so that what is quadratic fails long before it hangs. */
const FIRST_SHARE = 64

/** The least of several times: others on the machine can only make one longer. */
function leastMs(read: (text: string) => unknown, text: string): number {
  let least = Number.POSITIVE_INFINITY
  for (let count = 0; count < REPETITIONS; count += 1) {
    const begun = performance.now()
    read(text)
    least = Math.min(least, performance.now() - begun)
    if (least < TELLING_MS) break
  }
  return least
}

/**
 * Fails where reading a text takes more than in proportion to its length, up to `limit` characters.
 * @param textOf a text of about so many characters
 */
export function expectLinearTime(
  read: (text: string) => unknown,
  textOf: (length: number) => string,
  limit: number,
): void {
  let half = { length: 0, ms: 0 }
  for (let share = FIRST_SHARE; share >= 1; share /= 2) {
    const text = textOf(limit / share)
    let ms = leastMs(read, text)
    const isTooMuch = () => half.ms > 0 && ms > TELLING_MS && ms > MOST_TIMES * half.ms
    // What is linear may be late for once, what is not is late each time.
    for (let again = 0; again < 3 && isTooMuch(); again += 1) {
      half.ms = Math.max(half.ms, leastMs(read, textOf(half.length)))
      ms = Math.min(ms, leastMs(read, text))
    }
    const times = `${half.ms.toFixed(1)} ms for ${half.length}, ${ms.toFixed(1)} ms for ${text.length}`
    expect(isTooMuch(), `${times}: ${JSON.stringify(text.slice(0, 200))}`).toBe(false)
    half = { length: limit / share, ms }
  }
}

/** Texts that are a beginning, a part again and again, and an end, all made of `words`. */
export function hostileTexts(words: readonly string[]): fc.Arbitrary<(length: number) => string> {
  const some = (maxLength: number) =>
    fc.array(fc.constantFrom(...words), { maxLength }).map((parts) => parts.join(''))
  const repeated = some(3).filter((part) => part !== '')
  return fc.tuple(some(2), repeated, some(2)).map(([start, part, end]) => {
    return (length: number) => {
      const room = Math.max(0, length - start.length - end.length)
      return start + part.repeat(Math.floor(room / part.length)) + end
    }
  })
}
