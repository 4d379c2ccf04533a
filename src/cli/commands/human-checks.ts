import type { ResultAsync } from 'neverthrow'
import type { Seen } from '../../api/records.ts'
import type { AgentEvent, Kind, RequestError, RunDetails } from '../../client/index.ts'
import { nameOfRule } from '../../domain/approvals/rules.ts'
import { isLimit, type PausedBy } from '../../domain/pause.ts'
import { linesOf, oneLine, visibleJson } from '../../domain/plain-text.ts'
import type { CallDecision, Decision } from '../../domain/records.ts'
import type { Connection } from '../connection.ts'
import { atTerminal, talk } from '../terminal/ask.ts'
import { say } from '../terminal/print.ts'

/** A question, and what is done with the answer of the person. */
type Question<W extends string = string> = {
  readonly text: string
  /** The words that answer, by their letters. */
  readonly words: Readonly<Record<string, W>>
  send(word: W, why: Why): ResultAsync<unknown, RequestError>
}
/** The reason of the person, and the record that asks: what the person saw. */
type Why = { readonly reason: string | null; readonly seen: Seen | null }

/** These end the question that was asked before. */
const CLOSES: ReadonlySet<string> = new Set<Kind>([
  'human_check_response',
  'approval_response',
  'run_paused',
  'run_end',
])

/** The questions of a run that is watched: a person at a terminal is asked, and everybody is shown the commands that answer. */
export class Questions {
  readonly #connection: Connection
  readonly #asks: boolean
  readonly #interrupt: () => void
  #open: AbortController | null = null

  /** @param interrupt what Ctrl+C does during a question */
  constructor(connection: Connection, asks: boolean, interrupt: () => void) {
    this.#connection = connection
    this.#asks = asks && atTerminal()
    this.#interrupt = interrupt
  }

  /** @param isOpen whether nobody had answered it when the watch began */
  see(event: AgentEvent, isOpen: boolean): void {
    if (CLOSES.has(event.kind)) this.close()
    const hints = waitingHints(event, this.#connection.hint)
    if (!isOpen || hints.length === 0) return
    if (!this.#asks || event.kind === 'run_paused') say(...hints)
    else {
      this.#open = new AbortController()
      void this.#ask(event, hints, this.#open.signal)
    }
  }

  /** Withdraws the question. */
  close(): void {
    this.#open?.abort()
    this.#open = null
  }

  async #ask(event: AgentEvent, hints: readonly string[], signal: AbortSignal): Promise<void> {
    const question = await this.#questionOf(event)
    if (signal.aborted) return
    const given =
      question &&
      (await talk((ask) => answerTo(ask, question), { signal, onInterrupt: this.#interrupt }))
    if (signal.aborted) return
    if (!given) return say(...hints)
    const { seq, meta } = event
    const seen = meta === undefined ? null : { seq, hash: meta.hash }
    const answered = await question.send(given.word, { reason: given.reason, seen })
    if (answered.isErr()) say(this.#connection.explain(answered.error), ...hints)
  }

  /** Shows the call that waits, in full. Null if it cannot be read. */
  async #questionOf({ kind, run_id, seq }: AgentEvent): Promise<Question | null> {
    const { client, explain } = this.#connection
    const { runs } = client
    if (kind !== 'approval_required') {
      return {
        text: '[a]pprove or [x] abort, and why if you want; Enter to decide later: ',
        words: { a: 'approve', x: 'abort' },
        send: (decision, why) => runs.resume(run_id, { decision, ...why, seq }),
      } satisfies Question<Decision>
    }
    // As of the question, because the list of runs may be a moment older.
    const found = await runs.get(run_id, { at: seq })
    if (found.isErr()) say(explain(found.error))
    const approval = found.map(({ progress }) => progress.waiting_for?.approval).unwrapOr(undefined)
    if (approval === undefined) return null
    say(...callLines(approval))
    const { call_sha256 } = approval
    return {
      text: '[a]llow or [d]eny, and why if you want; Enter to decide later: ',
      words: { a: 'allow', d: 'deny' },
      send: (decision, why) => runs.answer(run_id, seq, { decision, ...why, call_sha256 }),
    } satisfies Question<CallDecision>
  }
}

/** Asks until the first word of an answer is known; the rest is the reason. Null if the person leaves it open. */
async function answerTo(ask: (question: string) => Promise<string>, { text, words }: Question) {
  for (;;) {
    const answer = await ask(text)
    if (answer === '') return null
    const [given = ''] = answer.split(/\s/, 1)
    const found = Object.entries(words).find((names) => names.includes(given.toLowerCase()))
    if (found) return { word: found[1], reason: answer.slice(given.length).trim() || null }
  }
}

type Hint = Connection['hint']

/** How a person continues a run that waits since this record; nothing for other records. */
function waitingHints(event: AgentEvent, hint: Hint): string[] {
  const { run_id } = event
  switch (event.kind) {
    case 'human_check_required':
      return [
        `The run waits for a person: ${hint('approve', run_id)}, or`,
        `                            ${hint('abort', run_id)}`,
      ]
    case 'approval_required':
      return [`A call waits for a person. To see it, and how to answer: ${hint('show', run_id)}`]
    case 'run_paused':
      return pauseHints(hint, run_id, event.payload.by)
    default:
      return []
  }
}

/** How a paused run continues. */
export function pauseHints(hint: Hint, runId: string, by: PausedBy): string[] {
  const resume = isLimit(by) ? hint('configure', runId, '--set', `${by}=N`) : hint('approve', runId)
  return [`The run is paused: ${resume}, or`, `                   ${hint('abort', runId)}`]
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
