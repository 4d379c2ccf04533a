import { messageOf } from '../api/problem.ts'
import { betweenOf, iterationsAt } from '../changes/between.ts'
import { summaryOf, useChanges } from '../changes/use-changes.ts'
import type { RunView } from '../run/run-view.ts'
import classes from './questions.module.css'

type Props = {
  readonly runId: string
  /** The human check that is open. */
  readonly seq: number
  readonly view: RunView
  /** Shows the changes of an iteration. */
  readonly onShow: (iteration: number) => void
}

/** How much the iteration changed that a person is asked about, and the way to see it. */
export function IterationChanges({ runId, seq, view, onShow }: Props) {
  const iteration = iterationsAt(view, seq)
  const between = betweenOf(view, seq, iteration)
  const { data, error, leftOut } = useChanges(runId, view, between)
  if (between === null) return null
  return (
    <p className={classes.changes}>
      In this iteration: {error !== null && messageOf(error)}
      {data !== undefined && `${summaryOf(data, leftOut)}.`}{' '}
      <button type="button" className={classes.link} onClick={() => onShow(iteration)}>
        Show what changed
      </button>
    </p>
  )
}
