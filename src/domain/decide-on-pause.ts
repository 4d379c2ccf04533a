import { err, ok, type Result } from 'neverthrow'
import { runEnd } from './advance.ts'
import { heldBy, usedUp } from './budget.ts'
import type { CommandOnRun, FromLog } from './commands.ts'
import type { RunError } from './errors.ts'
import { evolve } from './evolve.ts'
import { isLimit } from './pause.ts'
import { present } from './present.ts'
import type { RunRecord } from './records.ts'
import { type RunState, recordOf } from './state.ts'

type Decided = Result<RunRecord[], RunError>
type Command<T extends CommandOnRun['type']> = Extract<CommandOnRun, { type: T }>

/** The answer of a person to a pause. A run that a limit has paused continues only when that is raised. */
export function respondToPause(
  { decision, reason, answers, seen = null }: Command<'respond'>,
  state: RunState,
  now: number,
  { hashes }: FromLog,
): Decided {
  const { phase } = state
  if (phase.type !== 'paused') return err({ type: 'not_awaiting_human' })
  const { seq, by } = phase
  if (answers !== null && answers !== seq) {
    return err({ type: 'stale_decision', open: seq, answered: answers })
  }
  if (decision === 'abort') {
    return ok([runEnd(state, now, 'aborted', reason ?? 'Aborted while it was paused', seen)])
  }
  const held = heldBy(state, now) ?? (isLimit(by) ? { by, reason: phase.reason } : null)
  if (held !== null) return err({ type: 'limit_reached', limit: held.by, reason: held.reason })
  return ok([resumed(state, now, hashes, { reason, seen })])
}

/** The end of a pause, which follows from an answer or from a change of the configuration. */
function resumed(
  state: RunState,
  now: number,
  hashes: FromLog['hashes'],
  { reason = null, seen }: Pick<Command<'configure'>, 'reason' | 'seen'>,
): RunRecord {
  const answers = state.phase.type === 'paused' ? state.phase.seq : 0
  const shown_sha256 = hashes.get(answers)
  return recordOf(state, now, 'run_resumed', {
    reason,
    answers,
    ...present({ shown_sha256, seen }),
  })
}

/** A change of the configuration. A run that a limit has paused continues if no limit holds it any more. */
export function configure(
  command: Command<'configure'>,
  state: RunState,
  now: number,
  { hashes }: FromLog,
): Decided {
  const { changes, reason, seen } = command
  const problems = usedUp(changes, state, now)
  if (problems.length > 0) return err({ type: 'limits_used', problems })
  const changed = recordOf(state, now, 'run_config_changed', {
    ...{ changes, ...present({ reason, seen }) },
  })
  const { phase } = state
  if (phase.type !== 'paused' || !isLimit(phase.by)) return ok([changed])
  const held = heldBy(evolve(state, changed), now)
  if (held !== null) {
    return ok(
      held.by === phase.by ? [changed] : [changed, recordOf(state, now, 'run_paused', held)],
    )
  }
  // The price of the next request may be what stopped it, and that is not known here.
  const isHeld = phase.by === 'max_cost_usd' && !OF_PRICE.some((field) => field in changes)
  return ok(isHeld ? [changed] : [changed, resumed(state, now, hashes, command)])
}

/** What changes the most that the next request may cost, or how much of that is left. */
const OF_PRICE = [
  ...(['max_cost_usd', 'model_name', 'fallback_models'] as const),
  ...(['max_output_tokens', 'reasoning_effort'] as const),
]
