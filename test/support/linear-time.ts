import fc from 'fast-check'
import { expect } from 'vitest'

/** A shorter time depends more on the machine than on the text. */
const RELIABLE_MS = 30
/** Twice the text takes twice the time in linear code, and four times in quadratic code. */
const MAX_RATIO = 3
const REPETITIONS = 4
/** The text doubles up to its limit, so quadratic code fails long before it hangs. */
const FIRST_SHARE = 64

/** The shortest of several processor times, because other processes can only make a time longer. */
function leastMs(read: (text: string) => unknown, text: string): number {
  let least = Number.POSITIVE_INFINITY
  for (let count = 0; count < REPETITIONS; count += 1) {
    const begun = process.threadCpuUsage()
    read(text)
    const { user, system } = process.threadCpuUsage(begun)
    least = Math.min(least, (user + system) / 1000)
    if (least < RELIABLE_MS) break
  }
  return least
}

/**
 * Fails if the time to read a text grows faster than its length, up to `limit` characters.
 * @param textOf makes a text of about this length
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
    const isTooMuch = () => half.ms > 0 && ms > RELIABLE_MS && ms > MAX_RATIO * half.ms
    // Linear code may be slow once; other code is slow each time.
    for (let again = 0; again < 3 && isTooMuch(); again += 1) {
      half.ms = Math.max(half.ms, leastMs(read, textOf(half.length)))
      ms = Math.min(ms, leastMs(read, text))
    }
    const times = `${half.ms.toFixed(1)} ms for ${half.length}, ${ms.toFixed(1)} ms for ${text.length}`
    expect(isTooMuch(), `${times}: ${JSON.stringify(text.slice(0, 200))}`).toBe(false)
    half = { length: limit / share, ms }
  }
}

/** Texts made of `words`: a beginning, a part that repeats, and an end. */
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
