import type { ResultAsync } from 'neverthrow'
import type { Seen } from '../../api/records.ts'
import type { AgentEvent, Kind, RequestError, RunDetails } from '../../client/index.ts'
import { nameOfRule } from '../../domain/approvals/rules.ts'
import { isLimit, type PausedBy } from '../../domain/pause.ts'
import type { CallDecision, Decision } from '../../domain/records.ts'
import { Backoff } from '../../lib/backoff.ts'
import type { Connection } from '../connection.ts'
import { atTerminal, talk } from '../terminal/ask.ts'
import { linesOf, oneLine, visibleJson } from '../terminal/plain-text.ts'
import { say } from '../terminal/print.ts'

type WaitingFor = NonNullable<RunDetails['progress']['waiting_for']>

const BEHIND_MS = [20, 1000] as const

type CheckOptions = {
  /** Whether to ask the person at the terminal. Otherwise a message says how to decide. */
  readonly ask: boolean
  readonly interrupt: () => void
}

/** A question, and what is done with the answer of the person. */
type Question<D> = {
  readonly text: string
  /** What an answer means; undefined for one that means nothing. */
  readonly decisions: (answer: string) => D | undefined
  /** The commands that answer it later. */
  readonly hints: readonly string[]
  send(decision: D, why: Why): ResultAsync<unknown, RequestError>
}
/** The reason of the person, and the record that asks: what the person saw. */
type Why = { readonly reason: string | null; readonly seen: Seen | null }

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
    const { kind, seq } = event
    if (CLOSES.has(kind)) this.close()
    const { progress } = this.#run
    const isOpen = seq > progress.seq || seq === progress.waiting_for?.seq
    if (isOpen && kind === 'approval_required') void this.#askForCall(event)
    if (isOpen && kind === 'human_check_required') void this.#askToContinue(event)
    if (isOpen && event.kind === 'run_paused') void this.#askAboutPause(event)
  }

  /** Withdraws the question. */
  close(): void {
    this.#question?.abort()
    this.#question = null
  }

  #open(): AbortSignal {
    this.#question = new AbortController()
    return this.#question.signal
  }

  #askToContinue(event: AgentEvent): Promise<void> {
    const { client, hint } = this.#connection
    const { run_id } = this.#run
    return this.#ask(event, this.#open(), {
      text: '[a]pprove, [x] abort, Enter to decide later: ',
      decisions: (answer) => CONTINUE.get(answer),
      hints: [
        `The run waits for a person: ${hint('approve', run_id)}, or`,
        `                            ${hint('abort', run_id)}`,
      ],
      send: (decision, why) => client.runs.resume(run_id, { decision, ...why, seq: event.seq }),
    })
  }

  /** After a limit, the answer is a higher one; after a fault, whether the run continues. */
  #askAboutPause(event: AgentEvent<'run_paused'>): Promise<void> {
    const { client, hint } = this.#connection
    const { run_id } = this.#run
    const { by } = event.payload
    const raise = (text: string) => {
      if (text === 'none') return { limit: null }
      return Number(text) > 0 ? { limit: Number(text) } : undefined
    }
    const isAtLimit = isLimit(by)
    const first = isAtLimit ? `A higher ${by}` : '[a]pprove to continue'
    return this.#ask<Decision | { readonly limit: number | null }>(event, this.#open(), {
      text: `${first}, [x] abort, Enter to decide later: `,
      decisions: (text) => (isAtLimit ? raise(text) : undefined) ?? CONTINUE.get(text),
      hints: pauseHints(hint, run_id, by),
      send: (decision, why) =>
        typeof decision === 'string'
          ? client.runs.resume(run_id, { decision, ...why, seq: event.seq })
          : client.runs.configure(run_id, { [by]: decision.limit, ...why }),
    })
  }

  /** Shows the call that waits, in full, and asks the person about it. */
  async #askForCall(event: AgentEvent): Promise<void> {
    const { client, hint } = this.#connection
    const { run_id } = this.#run
    const { seq } = event
    const signal = this.#open()
    const waiting = await this.#waitingAt(seq, signal)
    if (signal.aborted || waiting?.approval === undefined) return
    const { approval } = waiting
    const { call_sha256 } = approval
    say(...callLines(approval))
    await this.#ask(event, signal, {
      text: '[a]llow, [d]eny, Enter to decide later: ',
      decisions: (answer) => ALLOW.get(answer),
      hints: [
        `To answer: ${hint('approve', run_id, shownHash(approval))}, or`,
        `           ${hint('deny', run_id, shownHash(approval))}`,
      ],
      send: (decision, why) => client.runs.answer(run_id, seq, { decision, ...why, call_sha256 }),
    })
  }

  async #ask<D>(
    { seq, meta }: AgentEvent,
    signal: AbortSignal,
    { text, decisions, hints, send }: Question<D>,
  ): Promise<void> {
    const { ask: asks, interrupt: onInterrupt } = this.#options
    const answer =
      asks && atTerminal()
        ? await talk((ask) => answerTo(ask, text, decisions), { signal, onInterrupt })
        : null
    if (signal.aborted) return
    if (answer === null) return say(...hints)
    const seen = meta === undefined ? null : { seq, hash: meta.hash }
    const answered = await send(answer.decision, { reason: answer.reason, seen })
    if (answered.isErr()) say(this.#connection.explain(answered.error), ...hints)
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
}

/** These end the question that was asked before. */
const CLOSES: ReadonlySet<string> = new Set<Kind>([
  ...(['human_check_response', 'approval_response'] as const),
  ...(['run_paused', 'run_resumed', 'run_end'] as const),
])

/** What an answer at the terminal means: a word, or its letter. */
const CONTINUE = new Map<string, Decision>(
  Object.entries({ a: 'approve', approve: 'approve', x: 'abort', abort: 'abort' }),
)
const ALLOW = new Map<string, CallDecision>(
  Object.entries({ a: 'allow', allow: 'allow', d: 'deny', deny: 'deny' }),
)

/** How a paused run continues. */
export function pauseHints(hint: Connection['hint'], runId: string, by: PausedBy): string[] {
  const goOn = isLimit(by) ? hint('configure', runId, '--set', `${by}=N`) : hint('approve', runId)
  return [`The run is paused: ${goOn}, or`, `                   ${hint('abort', runId)}`]
}

/** Asks until the answer is one of the decisions; null if the person leaves it open. */
async function answerTo<D>(
  ask: (question: string) => Promise<string>,
  text: string,
  decisions: Question<D>['decisions'],
): Promise<{ readonly decision: D; readonly reason: string | null } | null> {
  let decision: D | undefined
  while (decision === undefined) {
    const answer = (await ask(text)).toLowerCase()
    if (answer === '') return null
    decision = decisions(answer)
  }
  return { decision, reason: (await ask('Reason (Enter for none): ')) || null }
}

type WaitingCall = NonNullable<NonNullable<RunDetails['progress']['waiting_for']>['approval']>

/** How many digits of the hash of a call are shown for a person to paste. */
const SHOWN_DIGITS = 16

export const shownHash = ({ call_sha256 }: WaitingCall): string =>
  call_sha256.slice(0, SHOWN_DIGITS)

/** The call that a person decides about: all arguments, each line after a bar, so that none looks like one of ours. */
export function callLines(waiting: WaitingCall): string[] {
  const { call, content, rule, doubt } = waiting
  const { reason, by } = content
  return linesOf(
    `The agent wants to call ${oneLine(call.tool)} (${shownHash(waiting)}…):`,
    call.raw_args === undefined
      ? Object.entries(call.args).map(([name, value]) => argLines(name, value))
      : barred('  ', call.raw_args),
    `${nameOfRule(rule)} asks first${reason === undefined ? '' : `: ${oneLine(reason)}`}`,
    doubt !== null &&
      `The rule applies because the call cannot be judged with certainty: ${oneLine(doubt)}`,
    by === 'other_than_starter' &&
      'Somebody other than the person who started the run must answer.',
  )
}

const SIGNS: Readonly<Record<string, string>> = { old: '-', new: '+' }

function argLines(name: string, value: unknown): string[] {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2)
  return [`  ${oneLine(name)}:`, ...barred(`  ${SIGNS[name] ?? ''}`, text)]
}

const barred = (indent: string, text: string): string[] =>
  text.split('\n').map((line) => `${indent}| ${visibleJson(line)}`)
