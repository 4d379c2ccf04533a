import { err, ok, type Result } from 'neverthrow'
import { type AgentEvent, type Kind, type RunDetails, WatchError } from '../../client/index.ts'
import { Backoff } from '../../lib/backoff.ts'
import { counted } from '../../lib/counted.ts'
import type { Connection } from '../connection.ts'
import {
  askAboutCall,
  askDecision,
  atTerminal,
  callLines,
  shownHash,
} from '../terminal/decisions.ts'
import { eventLine, shownKinds } from '../terminal/event-line.ts'
import { EXIT, exitCodeOf } from '../terminal/exit-codes.ts'
import { liveBlock } from '../terminal/live-block.ts'
import { oneLine } from '../terminal/plain-text.ts'
import { print, printJson, reportState, say } from '../terminal/print.ts'

export type FollowOptions = {
  /** Prints events as JSON, one a line, instead of lines for people. */
  readonly json: boolean
  readonly after: number
  readonly kinds?: readonly Kind[] | undefined
  /** Whether the person at the terminal is asked to decide. */
  readonly ask: boolean
}

/** Prints a run while it happens, to its end. The value is the exit code for its outcome. */
export async function follow(
  { client, hint, explain }: Connection,
  runId: string,
  { json, after, kinds: chosen, ask }: FollowOptions,
): Promise<Result<number, string>> {
  const found = await client.runs.get(runId)
  if (found.isErr()) return err(explain(found.error))
  if (!json) await print(heading(found.value))

  const leave = new AbortController()
  const interrupt = () => leave.abort()
  process.once('SIGINT', interrupt)
  const checks = new HumanChecks({ client, hint, explain }, found.value, {
    ...{ ask, asksForCalls: !json, interrupt },
  })
  const { kinds, shows } = shownKinds(chosen, json)
  const block = json ? null : liveBlock()
  const reportLoss = reportState()
  const watched = client.watch(runId, {
    after,
    // The checks and the exit code need more kinds than are printed.
    kinds: [...new Set([...kinds, ...NEEDED])],
    // A decision names the hash of the record that the person saw.
    meta: ask || !json,
    live: block !== null,
    signal: leave.signal,
    onState: (state) => {
      block?.clear()
      reportLoss(state)
    },
  })
  let last = after
  try {
    for await (const event of watched) {
      block?.see(event)
      if (event.kind === 'part' || event.kind === 'parts_end') continue
      last = event.seq
      const isShown = shows(event) || (FOR_PEOPLE.has(event.kind) && !json)
      if (isShown) await (json ? printJson(event) : print(eventLine(event)))
      checks.see(event)
      if (event.kind !== 'run_end') continue
      if (!json) await print(closing(event, isShown))
      return ok(exitCodeOf(event.payload.status))
    }
  } catch (thrown) {
    block?.clear()
    if (leave.signal.aborted) {
      const rest = hint('watch', runId, '--after', String(last))
      say('', `The run continues. To see the rest of it: ${rest}`)
      return ok(EXIT.interrupted)
    }
    if (thrown instanceof WatchError) return err(thrown.message)
    throw thrown
  } finally {
    block?.clear()
    process.removeListener('SIGINT', interrupt)
    checks.close()
  }
  // The watch had no record: the run had ended before.
  const { status } = found.value
  if (status === 'queued' || status === 'running' || status === 'awaiting_human') {
    return err(`The server ended the watch, but the run has the status "${status}".`)
  }
  if (!json) await print(`Run ${status}: nothing has happened after seq ${after}`)
  return ok(exitCodeOf(status))
}

/** What people see in addition to the kinds that they chose. */
const ALWAYS_SHOWN = [
  ...(['run_queued', 'agent_stuck', 'run_summary'] as const),
  ...(['approval_required', 'approval_response'] as const),
] as const
const FOR_PEOPLE: ReadonlySet<Kind> = new Set(ALWAYS_SHOWN)
const NEEDED = [
  ...ALWAYS_SHOWN,
  ...(['human_check_required', 'human_check_response', 'run_end'] as const),
]

function heading({ run_id, goal, model_name, cwd }: RunDetails): string {
  return `Run ${run_id}: ${oneLine(goal)} in ${oneLine(cwd)}, by ${oneLine(model_name)}`
}

/** @param isShown whether the line before has the reason */
function closing({ payload }: AgentEvent<'run_end'>, isShown: boolean): string {
  const { status, reason, iterations, total_tokens, estimated_cost_usd } = payload
  const cost = estimated_cost_usd === null ? 'cost unknown' : `$${estimated_cost_usd.toFixed(4)}`
  const why = isShown ? '' : `: ${oneLine(reason)}`
  return `Run ${status}${why} (${counted(iterations, 'iteration')}, ${counted(total_tokens, 'token')}, ${cost})`
}

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
class HumanChecks {
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
