import { createInterface } from 'node:readline/promises'
import type { AgentEvent, RunDetails } from '../../client/index.ts'
import type { CallDecision, Decision } from '../../domain/records.ts'
import { Backoff } from '../../lib/backoff.ts'
import type { Connection } from '../connection.ts'
import { atTerminal } from '../terminal/is-agreed.ts'
import { say } from '../terminal/print.ts'
import { callLines, shownHash } from '../terminal/waiting-call.ts'

type WaitingFor = NonNullable<RunDetails['progress']['waiting_for']>

const BEHIND_MS = [20, 1000] as const

type CheckOptions = {
  /** Whether to ask the person at the terminal. Otherwise a message says how to decide. */
  readonly ask: boolean
  /** The same, for calls that wait. */
  readonly asksForCalls: boolean
  readonly interrupt: () => void
}

/** The human checks of a run that is followed: asks the person about those that are open. */
export class HumanChecks {
  readonly #connection: Connection
  readonly #run: RunDetails
  readonly #options: CheckOptions
  #question: AbortController | null = null

  /** @param run as it was when the watch began: earlier checks are history */
  constructor(connection: Connection, run: RunDetails, options: CheckOptions) {
    this.#connection = connection
    this.#run = run
    this.#options = options
  }

  see(event: AgentEvent): void {
    const isAnswer = event.kind === 'human_check_response' || event.kind === 'approval_response'
    if (isAnswer || event.kind === 'run_end') this.close()
    if (event.kind === 'approval_required' && this.#isOpen(event.seq)) void this.#askForCall(event)
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

  /** Shows the call that waits, in full, and asks the person about it. */
  async #askForCall({ seq, meta }: AgentEvent): Promise<void> {
    const question = new AbortController()
    this.#question = question
    const { client, explain, hint } = this.#connection
    const { run_id } = this.#run
    const waiting = await this.#waitingAt(seq, question.signal)
    if (question.signal.aborted || waiting?.approval === undefined) return
    const { approval } = waiting
    say(...callLines(approval))
    const asks = this.#options.asksForCalls && atTerminal()
    const answer = asks ? await askAboutCall(question.signal, this.#options.interrupt) : null
    if (question.signal.aborted) return
    if (answer === null) {
      say(`To answer: ${hint('approve', run_id, '--call', shownHash(approval))}, or`)
      say(`           ${hint('deny', run_id, '--call', shownHash(approval))}`)
      return
    }
    const seen = meta === undefined ? null : { seq, hash: meta.hash }
    const { call_sha256 } = approval
    const answered = await client.runs.answer(run_id, seq, { ...answer, call_sha256, seen })
    if (answered.isErr()) say(explain(answered.error))
  }

  /** What the run waits for since this record; null if it is answered already, or the server cannot tell. */
  async #waitingAt(seq: number, signal: AbortSignal): Promise<WaitingFor | null> {
    const { client, explain } = this.#connection
    const backoff = new Backoff(BEHIND_MS)
    do {
      const found = await client.runs.get(this.#run.run_id)
      if (found.isErr()) {
        if (!signal.aborted) say(explain(found.error))
        return null
      }
      const { seq: read, waiting_for } = found.value.progress
      // The watch can be ahead of what the server reads elsewhere.
      if (read >= seq) return waiting_for?.seq === seq ? waiting_for : null
    } while (await backoff.wait(signal))
    return null
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

type Answer<D> = { readonly decision: D; readonly reason: string | null }

type Decisions<D> = Readonly<Record<string, D | 'later'>>

const CALL_DECISIONS: Decisions<CallDecision> = {
  a: 'allow',
  allow: 'allow',
  d: 'deny',
  deny: 'deny',
  '': 'later',
}
const DECISIONS: Decisions<Decision> = {
  a: 'approve',
  approve: 'approve',
  x: 'abort',
  abort: 'abort',
  '': 'later',
}

/** Asks what happens with a run that waits. */
const askDecision = (signal: AbortSignal, onInterrupt: () => void) =>
  ask('[a]pprove, [x] abort, Enter to decide later: ', DECISIONS, signal, onInterrupt)

/** Asks whether the call that waits may begin. */
const askAboutCall = (signal: AbortSignal, onInterrupt: () => void) =>
  ask('[a]llow, [d]eny, Enter to decide later: ', CALL_DECISIONS, signal, onInterrupt)

/**
 * Asks the person at the terminal what to do with a run. Null if the person leaves the decision open, or
 * `signal` withdraws the question.
 * @param onInterrupt called for Ctrl+C, which sends no signal while the terminal is in this mode
 */
async function ask<D extends string>(
  question: string,
  decisions: Decisions<D>,
  signal: AbortSignal,
  onInterrupt: () => void,
): Promise<Answer<D> | null> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = new AbortController()
  terminal.once('SIGINT', onInterrupt)
  terminal.once('close', () => closed.abort())
  const options = { signal: AbortSignal.any([signal, closed.signal]) }
  try {
    for (;;) {
      const text = await terminal.question(question, options)
      const decision = decisions[text.trim().toLowerCase()]
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
