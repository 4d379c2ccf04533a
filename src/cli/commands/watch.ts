import type { Command } from 'commander'
import { err } from 'neverthrow'
import {
  type AgentEvent,
  type Kind,
  type Part,
  type PartsEnd,
  type PartText,
  partsAfter,
  type RunDetails,
  type RunRequest,
  WatchError,
  type WatchState,
} from '../../client/index.ts'
import { oneLine } from '../../domain/plain-text.ts'
import { EndStatus } from '../../domain/records.ts'
import { doubtOf } from '../../domain/verdict.ts'
import { counted } from '../../lib/text.ts'
import { type Connection, connected, serverCommand } from '../connection.ts'
import { ALWAYS_SHOWN, eventLine, shownKinds, waitText } from '../terminal/event-line.ts'
import { io, type Output } from '../terminal/io.ts'
import {
  JSON_EVENTS,
  type JsonOption,
  KINDS,
  type ShownEvents,
  seq,
} from '../terminal/option-values.ts'
import { print, printJson, rendered, say } from '../terminal/print.ts'
import { ERASE } from '../terminal/progress.ts'
import { type Calls, EXIT, exitCodeOf, OUTCOME_EXIT_CODES } from '../terminal/steps.ts'
import { statOf } from './history.ts'
import { Questions } from './human-checks.ts'

/** `retrai watch RUN`: the history of a run, then its new records until it ends. */
export const watchCommand = (): Command =>
  serverCommand('watch', OUTCOME_EXIT_CODES)
    .description(
      'Watch a run: its history, then its new records, until it ends. At a terminal, what is being written is shown below them.',
    )
    .argument('<run>', 'the id of the run')
    .option('--from <seq>', 'begin with this record', seq, 0)
    .option(...KINDS)
    .option(...JSON_EVENTS)
    .action(connected(follow))

/** Prints a run while it happens, to its end, or until Ctrl+C. The value is the exit code for its outcome. */
async function* follow(
  connection: Connection,
  runId: string,
  { json = false, from, kinds: chosen }: ShownEvents,
): Calls<number> {
  const after = from - 1
  const { client, hint } = connection
  const found = yield* client.runs.get(runId)
  if (!json) await print(heading(found))
  const { kinds, shows } = shownKinds(chosen, json)
  const live = json ? null : liveLine()
  const leave = new AbortController()
  const interrupt = () => leave.abort()
  io().once('SIGINT', interrupt)
  const questions = new Questions(connection, !json, interrupt)
  const watched = client.watch(runId, {
    after,
    live: live !== null,
    signal: leave.signal,
    onState: lossReporter(live),
    // The hints and the exit code need more kinds than are printed.
    kinds: [...new Set([...kinds, ...NEEDED])],
    // A decision names the hash of the record that the person saw.
    meta: !json,
  })
  let last = after
  let exitCode: number | null = null
  try {
    for await (const event of watched) {
      live?.see(event)
      if (event.kind === 'part' || event.kind === 'parts_end') continue
      last = event.seq
      const isShown = shows(event) || (FOR_PEOPLE.has(event.kind) && !json)
      if (isShown) await (json ? printJson(event) : print(eventLine(event)))
      questions.see(event, isOpen(event, found))
      if (event.kind !== 'run_end') continue
      if (!json) await print(closing(event, isShown))
      // What was done with its files after that comes, too.
      exitCode = exitCodeOf(event.payload.status)
    }
  } catch (thrown) {
    // Ctrl+C ends the watch with an error, too.
    if (!leave.signal.aborted) {
      if (thrown instanceof WatchError) return yield* err(thrown.message)
      throw thrown
    }
  } finally {
    questions.close()
    live?.clear()
    io().off('SIGINT', interrupt)
  }
  if (leave.signal.aborted) {
    const rest = hint('watch', runId, '--from', String(last + 1))
    say('', `The run continues. To see the rest of it: ${rest}`)
  }
  if (exitCode !== null) return exitCode
  return leave.signal.aborted ? EXIT.interrupted : yield* endedBefore(found, after, json)
}

/** What was answered before the watch began is history. */
const isOpen = ({ seq }: AgentEvent, { progress }: RunDetails): boolean =>
  seq > progress.seq || seq === progress.waiting_for?.seq

/** The watch had no record. */
async function* endedBefore({ status }: RunDetails, after: number, json: boolean): Calls<number> {
  const ended = EndStatus.safeParse(status)
  if (!ended.success) {
    return yield* err(`The server ended the watch, but the run has the status "${status}".`)
  }
  if (!json) await print(`Run ${status}: nothing has happened after seq ${after}`)
  return exitCodeOf(ended.data)
}

/** Writes to stderr when a connection is lost, and when it is back. */
function lossReporter(live: LiveLine | null): (state: WatchState) => void {
  let lost = false
  return (state) => {
    live?.clear()
    if (state === 'reconnecting' && !lost) say('The connection is lost. Trying to connect again …')
    if (state === 'live' && lost) say('Connected again.')
    lost = state === 'reconnecting'
  }
}

const FOR_PEOPLE: ReadonlySet<Kind> = new Set(ALWAYS_SHOWN)
const NEEDED = [...ALWAYS_SHOWN, 'human_check_required', 'human_check_response', 'run_end'] as const

function heading({ run_id, goal, model_name, cwd, waiting_for }: RunDetails): string {
  const wait = waiting_for === undefined ? '' : `. It waits for ${waitText(waiting_for)}`
  return `Run ${run_id}: ${oneLine(goal)} in ${oneLine(cwd)}, by ${oneLine(model_name)}${wait}`
}

/** @param isShown whether the line before has the reason */
function closing({ payload }: AgentEvent<'run_end'>, isShown: boolean): string {
  const { status, reason, verdict, iterations, total_tokens, estimated_cost_usd } = payload
  const doubt = doubtOf(verdict)
  const but = doubt === null ? '' : `. But ${oneLine(doubt)}`
  const cost = estimated_cost_usd === null ? 'cost unknown' : `$${estimated_cost_usd.toFixed(4)}`
  const why = isShown ? '' : `: ${oneLine(reason)}`
  return `Run ${status}${why} (${counted(iterations, 'iteration')}, ${counted(total_tokens, 'token')}, ${cost})${but}`
}

const DEFAULT_COLUMNS = 80
/** What is too long for a line is not shown, or goes into the next one again. */
const CUT = '\x1b[?7l'
const WRAP = '\x1b[?7h'

/** A terminal, as far as the line needs it. */
type Terminal = Pick<Output, 'write' | 'columns'>

/**
 * The end of the text that is being written, in the last line of a terminal. Call `clear` before anything else is
 * printed.
 */
export class LiveLine {
  readonly #terminal: Terminal
  #parts: readonly PartText[] = []
  #isShown = false

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  /** Takes what a watch yields, and shows the text that was added to. */
  see(next: AgentEvent | Part | PartsEnd): void {
    const before = this.#parts
    this.#parts = partsAfter(before, next)
    this.clear()
    const added = this.#parts.find((part) => !before.includes(part))
    if (added === undefined) return
    const line = { text: this.#lineOf(added), style: 'dim' } as const
    this.#terminal.write(`${CUT}${rendered([line])}${WRAP}`)
    this.#isShown = true
  }

  clear(): void {
    if (this.#isShown) this.#terminal.write(ERASE)
    this.#isShown = false
  }

  #lineOf({ text, iteration, of, tool }: PartText): string {
    const head = `   …  it ${iteration}  ${(tool ?? of).slice(0, 18).padEnd(18)} `
    const room = Math.max(1, (this.#terminal.columns || DEFAULT_COLUMNS) - head.length)
    // A progress bar overwrites its line.
    const last =
      text
        .trimEnd()
        .split(/[\r\n]/)
        .at(-1) ?? ''
    return `${head}${last.slice(-room)}`
  }
}

/** The line of this process; null if its output is not a terminal that can move its cursor. */
function liveLine(): LiveLine | null {
  const { stdout, env } = io()
  return stdout.isTTY === true && env.TERM !== 'dumb' ? new LiveLine(stdout) : null
}

/** Starts a run and watches it, or only prints its id. */
export async function* startRun(
  connection: Connection,
  request: RunRequest,
  { detach = false, json = false }: JsonOption & { readonly detach?: boolean },
): Calls {
  const { client, hint } = connection
  const created = yield* client.runs.create(request)
  const { run_id } = created
  if (!detach) {
    const code = yield* follow(connection, run_id, { json, from: 0 })
    if (json || code === EXIT.interrupted) return code
    await printStat(client, run_id)
    const isCopy = request.workspace === 'copy' || request.fork !== undefined
    if (isCopy) say(`It worked in a copy: ${hint('apply', run_id)}, or ${hint('discard', run_id)}`)
    return code
  }
  await (json ? printJson(created) : print(run_id))
  say(`The run has started. To watch it: ${hint('watch', run_id)}`)
}

/** What the run did to files; nothing if that is not known. */
async function printStat(client: Connection['client'], runId: string): Promise<void> {
  const changes = await client.history.changes(runId)
  for (const line of changes.map(statOf).unwrapOr([])) await print(line)
}
