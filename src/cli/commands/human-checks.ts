import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { AgentEvent, RunDetails, RunStanding } from '../../client/index.ts'
import type { Decision, Seen } from '../../domain/records.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { seen, seq } from '../terminal/option-values.ts'
import { print, say } from '../terminal/print.ts'

type DecideOptions = ServerOptions & {
  readonly reason?: string
  readonly seq?: number
  readonly seen?: Seen
}

const SEEN = [
  '--seen <seq:hash>',
  'the last record that you saw: refused if the log has another record there',
  seen,
] as const

/** `retrai approve RUN`: lets a run that waits for a person continue. */
export function approveCommand(): Command {
  return serverCommand('approve')
    .description('Approve another iteration of a run that waits for a person.')
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'kept in the log, and shown to the model')
    .option('--seq <seq>', 'the human check that you answer: refused if another one is open', seq)
    .option(...SEEN)
    .action((runId: string, { reason, seq, seen, ...options }: DecideOptions) =>
      whenConnected(options, async ({ client, explain }) => {
        const answer = { decision: 'approve', reason, seq, seen } as const
        return printStatus((await client.runs.resume(runId, answer)).mapErr(explain))
      }),
    )
}

/** `retrai abort RUN`: ends a run, whatever it is doing. */
export function abortCommand(): Command {
  return serverCommand('abort')
    .description('Abort a run, whatever it is doing.')
    .argument('<run>', 'the id of the run')
    .option('--reason <text>', 'kept in the log')
    .option(...SEEN)
    .action((runId: string, { reason, seen, ...options }: DecideOptions) =>
      whenConnected(options, async ({ client, explain }) => {
        return printStatus((await client.runs.abort(runId, { reason, seen })).mapErr(explain))
      }),
    )
}

async function printStatus(done: Result<RunStanding, string>): Promise<Result<number, string>> {
  if (done.isErr()) return err(done.error)
  await print(`${done.value.run_id} ${done.value.status}`)
  return ok(EXIT.done)
}

type Options = {
  /** Whether to ask the person at the terminal. Otherwise a message says how to decide. */
  readonly ask: boolean
  readonly interrupt: () => void
}

/** The human checks of a run that is followed: asks the person about those that are open. */
export class HumanChecks {
  readonly #connection: Connection
  readonly #run: RunDetails
  readonly #options: Options
  #question: AbortController | null = null

  /** @param run as it was when the watch began: earlier checks are history */
  constructor(connection: Connection, run: RunDetails, options: Options) {
    this.#connection = connection
    this.#run = run
    this.#options = options
  }

  see(event: AgentEvent): void {
    if (event.kind === 'human_check_response' || event.kind === 'run_end') this.close()
    if (event.kind !== 'human_check_required' || !this.#isOpen(event.seq)) return
    if (this.#options.ask && atTerminal()) void this.#ask(event)
    else this.#showHints()
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

  #showHints(): void {
    const { hint } = this.#connection
    const { run_id } = this.#run
    say(`The run waits for a person: ${hint('approve', run_id)}, or`)
    say(`                            ${hint('abort', run_id)}`)
  }

  async #ask({ seq, meta }: AgentEvent): Promise<void> {
    const question = new AbortController()
    this.#question = question
    const answer = await askDecision(question.signal, this.#options.interrupt)
    if (question.signal.aborted) return
    if (answer === null) return this.#showHints()
    const { client, explain } = this.#connection
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
 * Asks the person at the terminal what to do with a run. Null if the person leaves the decision open, or
 * `signal` withdraws the question.
 * @param onInterrupt called for Ctrl+C, which is no signal while the terminal is in this mode
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
