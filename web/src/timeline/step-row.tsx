import type { RowOf, StepNode } from '../run/rows.ts'
import { formatDuration } from '../ui/format.ts'
import classes from './rows.module.css'

const NAMES: Readonly<Record<StepNode, string>> = {
  plan: 'Plan',
  act: 'Act',
  evaluate: 'Evaluate',
  human_check: 'Human check',
}

type Props = { readonly row: RowOf<'step'>; readonly moment: number; readonly working: boolean }

export function StepRow({ row: { seq, node, ts, until }, moment, working }: Props) {
  const begun = seq <= moment
  const over = until !== null && until.seq <= moment
  return (
    <div className={classes.step}>
      <span className={classes.stepName}>{NAMES[node]}</span>
      <span className={classes.quiet}>
        {over ? formatDuration(until.ts - ts) : working && begun ? 'in progress' : ''}
      </span>
    </div>
  )
}
