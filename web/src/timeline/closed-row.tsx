import type { RowOf } from '../run/rows.ts'
import { formatCost, formatCount } from '../ui/format.ts'
import { Frame } from './frame.tsx'
import classes from './rows.module.css'

export function ClosedRow({ row: { record } }: { readonly row: RowOf<'closed'> }) {
  const { iteration, tokens, cost_usd } = record.payload
  return (
    <Frame records={[record]}>
      <div className={classes.facts}>
        <span>Iteration {iteration} complete</span>
        <span>{formatCount(tokens)} tokens</span>
        {cost_usd !== null && <span>{formatCost(cost_usd)}</span>}
      </div>
    </Frame>
  )
}
