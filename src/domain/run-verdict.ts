import { isUntouched, type RunState } from './state.ts'
import type { FinalCheck, FinalState, RunVerdict } from './verdict.ts'

/** What is known after a final check. */
export function finalAfter(
  { wasTold }: Pick<RunState, 'wasTold'>,
  { feedback: _, duration_ms: __, versions: ___, ...found }: FinalCheck,
): Pick<RunState, 'final' | 'wasTold'> {
  const isTold = found.rejected === 'tampering'
  return {
    final: { ...found, isOver: (isTold && wasTold === true) || isHopeless(found) },
    ...(isTold ? { wasTold: true } : {}),
  }
}

/** Whether nothing that the agent could do would help: the check cannot be made, and not because of changed files. */
const isHopeless = ({
  rejected,
  accept,
  original_checks,
  tampering,
}: Omit<FinalState, 'isOver'>) =>
  rejected === 'accept'
    ? accept === 'cannot_check'
    : rejected !== null && original_checks === 'cannot_check' && tampering.length === 0

/** Whether the check of the goal succeeds, and a final check did not reject that. */
export const isReached = ({ goal, final }: Pick<RunState, 'goal' | 'final'>): boolean =>
  goal?.achieved === true && (final?.rejected ?? null) === null

/** What the last record of a run says of it; null if its goal was never checked, or nobody looked at its files. */
export function verdictOf(state: RunState): RunVerdict | null {
  const { goal, final, uncheckable, snapshot, config, tampering = [] } = state
  if (goal === null) return null
  const failed = uncheckable > 0 ? 'cannot_check' : 'not_achieved'
  const as_is = goal.achieved ? 'achieved' : failed
  if (final != null) {
    const { rejected: _, reason: __, isOver: ___, ...found } = final
    return { as_is, ...found }
  }
  if (snapshot === undefined || config.on_tampering === 'off') return null
  // Before its first iteration, the agent has done nothing.
  const asAtStart = isUntouched(state)
  return {
    as_is,
    original_checks: asAtStart ? as_is : null,
    accept: null,
    tampering,
    dependencies: asAtStart ? 'same' : null,
    tree: snapshot.tree,
  }
}
