import { createInterface } from 'node:readline/promises'
import { io } from './io.ts'

/** Whether there is a person to ask. */
export const atTerminal = (): boolean => io().stdin.isTTY === true && io().stderr.isTTY === true

/**
 * Talks with the person at the terminal; null if the person ends that, or `signal` does.
 * @param onInterrupt called for Ctrl+C, which sends no signal while the terminal is in this mode
 */
export async function talk<T>(
  conversation: (ask: (question: string) => Promise<string>) => Promise<T>,
  {
    signal,
    onInterrupt,
  }: { readonly signal?: AbortSignal; readonly onInterrupt?: () => void } = {},
): Promise<T | null> {
  const terminal = createInterface({ input: io().stdin, output: io().stderr })
  const closed = new AbortController()
  if (onInterrupt !== undefined) terminal.once('SIGINT', onInterrupt)
  terminal.once('close', () => closed.abort())
  const over = AbortSignal.any([closed.signal, ...(signal === undefined ? [] : [signal])])
  try {
    return await conversation(async (question) => {
      const answer = await terminal.question(question, { signal: over })
      return answer.trim()
    })
  } catch (thrown) {
    if (!over.aborted) throw thrown
    io().stderr.write('\n')
    return null
  } finally {
    terminal.close()
  }
}

/** Whether the person at the terminal says yes. */
export const agrees = async (question: string): Promise<boolean> =>
  /^y(es)?$/i.test((await talk((ask) => ask(`${question} [y]es, [n]o: `))) ?? '')
