import { err, ok, type Result } from 'neverthrow'
import { type AgentEvent, type Kind, type RunDetails, WatchError } from '../../client/index.ts'
import { counted } from '../../lib/counted.ts'
import type { Connection } from '../connection.ts'
import { eventLine, shownKinds, waitText } from '../terminal/event-line.ts'
import { EXIT, exitCodeOf } from '../terminal/exit-codes.ts'
import { liveBlock } from '../terminal/live-block.ts'
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
  { json, after, kinds: chosen, ask }: FollowOptions,
): Promise<Result<number, string>> {
  const found = await client.runs.get(runId)
  if (found.isErr()) return err(explain(found.error))
  let waitsSince = found.value.waiting_for?.since ?? null
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
      const isRetry = event.kind === 'llm_retry' && event.payload.fallback === undefined
      if (isRetry && (event.payload.attempt === 1 || waitsSince === null)) {
        waitsSince = new Date(event.ts * 1_000).toISOString()
      }
      const since = isRetry ? ` (it waits for its model since ${waitsSince})` : ''
      if (isShown) await (json ? printJson(event) : print(eventLine(event, since)))
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
  return withoutRecords(found.value, { json, after })
}

/** The watch had no record: the run had ended before. */
async function withoutRecords(
  { status }: RunDetails,
  { json, after }: Pick<FollowOptions, 'json' | 'after'>,
): Promise<Result<number, string>> {
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

function heading({ run_id, goal, model_name, cwd, waiting_for }: RunDetails): string {
  const wait = waiting_for === undefined ? '' : `. It waits for ${waitText(waiting_for)}`
  return `Run ${run_id}: ${oneLine(goal)} in ${oneLine(cwd)}, by ${oneLine(model_name)}${wait}`
}

/** @param isShown whether the line before has the reason */
function closing({ payload }: AgentEvent<'run_end'>, isShown: boolean): string {
  const { status, reason, iterations, total_tokens, estimated_cost_usd } = payload
  const cost = estimated_cost_usd === null ? 'cost unknown' : `$${estimated_cost_usd.toFixed(4)}`
  const why = isShown ? '' : `: ${oneLine(reason)}`
  return `Run ${status}${why} (${counted(iterations, 'iteration')}, ${counted(total_tokens, 'token')}, ${cost})`
}
