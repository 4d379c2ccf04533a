import { err, ok, type Result } from 'neverthrow'
import {
  type AgentEvent,
  DOCUMENTED_KINDS,
  type Kind,
  type RunDetails,
  WatchError,
} from '../../client/index.ts'
import type { Connection } from '../connection.ts'
import { eventLine } from '../terminal/event-line.ts'
import { EXIT, exitCodeOf } from '../terminal/exit-codes.ts'
import { oneLine } from '../terminal/plain-text.ts'
import { print, printJson, reportState, say } from '../terminal/print.ts'
import { HumanChecks } from './human-checks.ts'

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
  { json, after, kinds = DOCUMENTED_KINDS, ask }: FollowOptions,
): Promise<Result<number, string>> {
  const found = await client.runs.get(runId)
  if (found.isErr()) return err(explain(found.error))
  if (!json) await print(heading(found.value))

  const leave = new AbortController()
  const interrupt = () => leave.abort()
  process.once('SIGINT', interrupt)
  const checks = new HumanChecks({ client, hint, explain }, found.value, { ask, interrupt })
  const wanted = new Set(kinds)
  const watched = client.watch(runId, {
    after,
    // The checks and the exit code need more kinds than are printed.
    kinds: [...new Set([...wanted, ...NEEDED])],
    // A decision names the hash of the record that the person saw.
    meta: ask,
    signal: leave.signal,
    onState: reportState(),
  })
  let last = after
  try {
    for await (const event of watched) {
      last = event.seq
      const isShown = wanted.has(event.kind) || (event.kind === 'run_queued' && !json)
      if (isShown) await (json ? printJson(event) : print(eventLine(event)))
      checks.see(event)
      if (event.kind !== 'run_end') continue
      if (!json) await print(closing(event))
      return ok(exitCodeOf(event.payload.status))
    }
  } catch (thrown) {
    if (leave.signal.aborted) {
      const rest = hint('watch', runId, '--after', String(last))
      say('', `The run continues. To see the rest of it: ${rest}`)
      return ok(EXIT.interrupted)
    }
    if (thrown instanceof WatchError) return err(thrown.message)
    throw thrown
  } finally {
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

const NEEDED = ['run_queued', 'human_check_required', 'human_check_response', 'run_end'] as const

function heading({ run_id, goal, model_name, cwd }: RunDetails): string {
  return `Run ${run_id}: ${oneLine(goal)} in ${oneLine(cwd)}, by ${oneLine(model_name)}`
}

function closing({ payload }: AgentEvent<'run_end'>): string {
  const { status, reason, iterations, total_tokens, estimated_cost_usd } = payload
  const cost = estimated_cost_usd === null ? 'cost unknown' : `$${estimated_cost_usd.toFixed(4)}`
  return `Run ${status}: ${oneLine(reason)} (${count(iterations, 'iteration')}, ${count(total_tokens, 'token')}, ${cost})`
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
