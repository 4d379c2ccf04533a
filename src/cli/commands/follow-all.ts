import { err, ok, type Result } from 'neverthrow'
import { type AgentEvent, DOCUMENTED_KINDS, FeedError, type Kind } from '../../client/index.ts'
import type { Server } from '../connection.ts'
import { eventLine } from '../terminal/event-line.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import type { Line } from '../terminal/plain-text.ts'
import { print, printJson, say } from '../terminal/print.ts'
import { tellState } from '../terminal/tell-state.ts'

type Options = {
  /** Events as JSON, one a line, instead of lines for people. */
  readonly json: boolean
  /** A cursor, or `start` or `end` of the log. */
  readonly after: string
  readonly kinds?: readonly Kind[] | undefined
}

/** Prints what happens in all runs, until it is interrupted. */
export async function followAll(
  { client, hint, explain }: Server,
  { json, after, kinds = DOCUMENTED_KINDS }: Options,
): Promise<Result<number, string>> {
  const reached = await client.runs.list({ limit: 1 })
  if (reached.isErr()) return err(explain(reached.error))

  const leave = new AbortController()
  const interrupt = () => leave.abort()
  process.once('SIGINT', interrupt)
  let last = after
  const watched = client.watchAll({
    kinds,
    after: after === 'start' ? undefined : after,
    signal: leave.signal,
    onState: tellState(),
    onCaughtUp: (cursor) => {
      if (!json && last === after) say('All runs are watched; Ctrl+C ends it.')
      last = cursor ?? last
    },
  })
  try {
    for await (const event of watched) {
      last = event.cursor
      await (json ? printJson(event) : print(lineOf(event)))
    }
    return ok(EXIT.done)
  } catch (thrown) {
    if (leave.signal.aborted) {
      say('', `To see what happens meanwhile: ${hint('watch', '--after', last)}`)
      return ok(EXIT.interrupted)
    }
    if (thrown instanceof FeedError) return err(thrown.message)
    throw thrown
  } finally {
    process.removeListener('SIGINT', interrupt)
  }
}

/** As of one run, and which: ids differ in their first digits. */
function lineOf(event: AgentEvent): Line {
  return [{ text: event.run_id.slice(0, 8), style: 'dim' }, '  ', ...eventLine(event)]
}
