import type { RowOf } from '../run/rows.ts'
import { formatClock } from '../ui/format.ts'
import classes from './rows.module.css'

type Props = { readonly row: RowOf<'iteration'>; readonly began: number }

export function IterationRow({ row, began }: Props) {
  return (
    <div className={classes.iteration}>
      <h2 className={classes.iterationTitle}>Iteration {row.iteration}</h2>
      <span className={classes.quiet}>at {formatClock(row.ts - began)}</span>
    </div>
  )
}
