import type { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import { type AgentEvent, FeedError, type Kind } from '../../client/index.ts'
import { type Connection, type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { eventLine, shownKinds } from '../terminal/event-line.ts'
import { EXIT, OUTCOME_EXIT_CODES } from '../terminal/exit-codes.ts'
import { liveBlock } from '../terminal/live-block.ts'
import { isSeq, JSON_EVENTS, KINDS } from '../terminal/option-values.ts'
import type { Line } from '../terminal/plain-text.ts'
import { print, printJson, reportState, say } from '../terminal/print.ts'
import { follow } from './follow.ts'

type Choice = {
  readonly after?: string
  readonly kinds?: readonly Kind[]
  readonly json?: boolean
}

/** `retrai watch [RUN]`: the history of a run, then its new records until it ends; or all runs from now on. */
export function watchCommand(): Command {
  return serverCommand('watch', OUTCOME_EXIT_CODES)
    .description(
      'Watch a run: its history, then its new records, until it ends. Without RUN: all runs, from now on. At a terminal, what is being written is shown below the records.',
    )
    .argument('[run]', 'the id of the run')
    .option(
      '--after <place>',
      'begin after this place: a seq of the run; for all runs, the cursor of an event, "start" or "end"',
    )
    .option(...KINDS)
    .option(...JSON_EVENTS)
    .action((runId: string | undefined, { server, ...choice }: Choice & ServerOptions) =>
      whenConnected(server === undefined ? {} : { server }, (connection) =>
        watch(connection, runId, choice),
      ),
    )
}

async function watch(
  connection: Connection,
  runId: string | undefined,
  { after, kinds, json = false }: Choice,
): Promise<Result<number, string>> {
  if (runId === undefined) return followAll(connection, { after: after ?? 'end', kinds, json })
  if (after !== undefined && !isSeq(after)) {
    return err(`--after ${after} is not a place in a run. Give a seq, or -1 for the whole run.`)
  }
  return follow(connection, runId, { after: Number(after ?? -1), kinds, json, ask: false })
}

type Options = {
  /** Prints events as JSON, one a line, instead of lines for people. */
  readonly json: boolean
  /** A cursor, or the `start` or `end` of the log. */
  readonly after: string
  readonly kinds?: readonly Kind[] | undefined
}

/** Prints what happens in all runs, until an interrupt. */
async function followAll(
  { client, hint, explain }: Connection,
  { json, after, kinds: chosen }: Options,
): Promise<Result<number, string>> {
  const reached = await client.runs.list({ limit: 1 })
  if (reached.isErr()) return err(explain(reached.error))

  const { kinds, shows } = shownKinds(chosen, json)
  const leave = new AbortController()
  const interrupt = () => leave.abort()
  process.once('SIGINT', interrupt)
  let last = after
  const block = json ? null : liveBlock()
  const reportLoss = reportState()
  const watched = client.watchAll({
    kinds,
    after: after === 'start' ? undefined : after,
    signal: leave.signal,
    live: block !== null,
    onState: (state) => {
      block?.clear()
      reportLoss(state)
    },
    onCaughtUp: (cursor) => {
      if (!json && last === after) say('Watching all runs. Ctrl+C stops.')
      last = cursor ?? last
    },
  })
  try {
    for await (const event of watched) {
      block?.see(event)
      if (event.kind === 'part' || event.kind === 'parts_end') continue
      last = event.cursor
      if (shows(event)) await (json ? printJson(event) : print(lineOf(event)))
    }
    return ok(EXIT.done)
  } catch (thrown) {
    block?.clear()
    if (leave.signal.aborted) {
      say('', `To see what happens from here: ${hint('watch', '--after', last)}`)
      return ok(EXIT.interrupted)
    }
    if (thrown instanceof FeedError) return err(thrown.message)
    throw thrown
  } finally {
    process.removeListener('SIGINT', interrupt)
  }
}

/** The line of an event, after the first digits of the id of its run, by which ids differ. */
function lineOf(event: AgentEvent): Line {
  return [{ text: event.run_id.slice(0, 8), style: 'dim' }, '  ', ...eventLine(event)]
}
