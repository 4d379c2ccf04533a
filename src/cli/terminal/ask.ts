import { createInterface } from 'node:readline/promises'
import { io } from './io.ts'

/** Whether there is a person to ask. */
export const atTerminal = (): boolean => io().stdin.isTTY === true && io().stderr.isTTY === true

/** Whether the person at the terminal says yes. Ctrl+C and the end of the input say no. */
export async function agrees(question: string): Promise<boolean> {
  const terminal = createInterface({ input: io().stdin, output: io().stderr })
  const closed = new AbortController()
  terminal.once('close', () => closed.abort())
  try {
    const answer = await terminal.question(`${question} [y]es, [n]o: `, closed)
    return /^y(es)?$/i.test(answer.trim())
  } catch (thrown) {
    if (!closed.signal.aborted) throw thrown
    io().stderr.write('\n')
    return false
  } finally {
    terminal.close()
  }
}
