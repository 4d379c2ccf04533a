import { createInterface } from 'node:readline/promises'

/** Whether there is a person to ask. */
export const atTerminal = (): boolean => process.stdin.isTTY && process.stderr.isTTY

/** Asks the person at the terminal; null if there is none. Only `y` and `yes` agree. */
export async function isAgreed(question: string): Promise<boolean | null> {
  if (!atTerminal()) return null
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new AbortController()
  terminal.once('close', () => closed.abort())
  try {
    const answer = await terminal.question(question, { signal: closed.signal })
    return /^y(es)?$/i.test(answer.trim())
  } catch (thrown) {
    if (closed.signal.aborted) return false
    throw thrown
  } finally {
    terminal.close()
  }
}
