import { io } from './io.ts'

/** A terminal erases its line. */
export const ERASE = '\r\x1b[K'

/** What takes shorter needs no line, milliseconds. */
const SOON_MS = 500
const EVERY_MS = 200

/**
 * Shows at a terminal that work is under way, in a line on stderr that goes when it is over.
 * @param state what is said of it, such as "Verifying … 40 %"
 */
export async function withProgress<T>(state: () => string, work: PromiseLike<T>): Promise<T> {
  const { stderr } = io()
  if (stderr.isTTY !== true) return work
  let isShown = false
  const began = performance.now()
  const timer = setInterval(() => {
    if (performance.now() - began < SOON_MS) return
    isShown = true
    stderr.write(`${ERASE}${state()}`)
  }, EVERY_MS)
  try {
    return await work
  } finally {
    clearInterval(timer)
    if (isShown) stderr.write(ERASE)
  }
}

/** The time since `began`, for work of which nobody knows how much is left. @param began by `performance.now()` */
export const seconds = (began: number): string =>
  `${Math.floor((performance.now() - began) / 1000)} s`
