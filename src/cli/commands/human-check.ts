import { createInterface } from 'node:readline/promises'
import type { Decision } from '../../domain/records.ts'

export type Answer = { readonly decision: Decision; readonly reason: string | null }

const DECISIONS: Readonly<Record<string, Decision | 'later'>> = {
  a: 'approve',
  approve: 'approve',
  x: 'abort',
  abort: 'abort',
  '': 'later',
}

/** Whether there is a person to ask. */
export const atTerminal = (): boolean => process.stdin.isTTY && process.stderr.isTTY

/**
 * Asks the person at the terminal what to do with a run. Null where the decision is left open, or
 * `signal` has withdrawn the question.
 * @param onInterrupt the person pressed Ctrl+C, which a terminal in this mode tells to nobody else
 */
export async function askDecision(
  signal: AbortSignal,
  onInterrupt: () => void,
): Promise<Answer | null> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new AbortController()
  terminal.once('SIGINT', onInterrupt)
  terminal.once('close', () => closed.abort())
  const options = { signal: AbortSignal.any([signal, closed.signal]) }
  try {
    for (;;) {
      const text = await terminal.question('[a]pprove, [x] abort, Enter to decide later: ', options)
      const decision = DECISIONS[text.trim().toLowerCase()]
      if (decision === undefined) continue
      if (decision === 'later') return null
      const reason = await terminal.question('Reason (Enter for none): ', options)
      return { decision, reason: reason.trim() || null }
    }
  } catch (thrown) {
    if (!options.signal.aborted) throw thrown
    process.stderr.write('\n')
    return null
  } finally {
    terminal.close()
  }
}
