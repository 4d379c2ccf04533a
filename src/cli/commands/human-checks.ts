import { createInterface } from 'node:readline/promises'
import type { AgentEvent, RunDetails } from '../../client/index.ts'
import type { Decision } from '../../domain/records.ts'
import type { Server } from '../connection.ts'
import { say } from '../terminal/print.ts'

type Options = {
  /** Whether the person at the terminal is asked; otherwise they are told how to decide. */
  readonly ask: boolean
  readonly interrupt: () => void
}

/** The human checks of a run that is followed: those that are open are brought before the person. */
export class HumanChecks {
  readonly #server: Server
  readonly #run: RunDetails
  readonly #options: Options
  #question: AbortController | null = null

  /** @param run as it was when the watch began: what came before is history */
  constructor(server: Server, run: RunDetails, options: Options) {
    this.#server = server
    this.#run = run
    this.#options = options
  }

  see(event: AgentEvent): void {
    if (event.kind === 'human_check_response' || event.kind === 'run_end') this.close()
    if (event.kind !== 'human_check_required' || !this.#isOpen(event.seq)) return
    if (this.#options.ask && atTerminal()) void this.#ask(event)
    else this.#tell()
  }

  /** Withdraws the question. */
  close(): void {
    this.#question?.abort()
    this.#question = null
  }

  #isOpen(seq: number): boolean {
    const { progress } = this.#run
    return seq > progress.seq || seq === progress.waiting_for?.seq
  }

  #tell(): void {
    const { hint } = this.#server
    const { run_id } = this.#run
    say(`The run waits for a person: ${hint('approve', run_id)}, or`)
    say(`                            ${hint('abort', run_id)}`)
  }

  async #ask({ seq, meta }: AgentEvent): Promise<void> {
    const question = new AbortController()
    this.#question = question
    const answer = await askDecision(question.signal, this.#options.interrupt)
    if (question.signal.aborted) return
    if (answer === null) return this.#tell()
    const { client, explain } = this.#server
    const seen = meta === undefined ? null : { seq, hash: meta.hash }
    const answered = await client.runs.resume(this.#run.run_id, { ...answer, seq, seen })
    if (answered.isErr()) say(explain(answered.error))
  }
}

type Answer = { readonly decision: Decision; readonly reason: string | null }

const DECISIONS: Readonly<Record<string, Decision | 'later'>> = {
  a: 'approve',
  approve: 'approve',
  x: 'abort',
  abort: 'abort',
  '': 'later',
}

/** Whether there is a person to ask. */
const atTerminal = (): boolean => process.stdin.isTTY && process.stderr.isTTY

/**
 * Asks the person at the terminal what to do with a run. Null where the decision is left open, or
 * `signal` has withdrawn the question.
 * @param onInterrupt the person pressed Ctrl+C, which a terminal in this mode tells to nobody else
 */
async function askDecision(signal: AbortSignal, onInterrupt: () => void): Promise<Answer | null> {
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
