import { type ReactNode, useMemo } from 'react'
import { thin } from '../replay/marks.ts'
import { countUpTo, lastUpTo } from '../run/moments.ts'
import type { RunView } from '../run/run-view.ts'
import { counted, formatClock, formatCompact, formatCost, formatCount } from '../ui/format.ts'
import { type ChartPoint, LineChart } from './line-chart.tsx'
import { Panel } from './panel.tsx'
import classes from './usage-panel.module.css'

const ROOM = 300

type Props = {
  readonly view: RunView
  readonly moment: number
  readonly onSeek: (seq: number) => void
}

/** What the run has used, over its time. */
export function UsagePanel({ view, moment, onSeek }: Props) {
  const { usage, records } = view
  const began = records[0]?.ts ?? 0
  const points = useMemo(() => thin(usage, ROOM), [usage])
  const tokens = useMemo(
    () => points.map((p): ChartPoint => ({ x: p.ts - began, y: p.tokens, seq: p.seq })),
    [points, began],
  )
  const cost = useMemo(
    () =>
      points.flatMap((p): ChartPoint[] =>
        p.costUsd === null ? [] : [{ x: p.ts - began, y: p.costUsd, seq: p.seq }],
      ),
    [points, began],
  )
  const span = Math.max(0.001, (records.at(-1)?.ts ?? began) - began)
  const at = (records[moment]?.ts ?? began) - began
  const now = lastUpTo(usage, moment)
  const common = { span, at, onSeek }
  return (
    <Panel
      title="Tokens and cost"
      aside={counted(
        countUpTo(usage, moment, ({ seq }) => seq),
        'model call',
      )}
    >
      <Line name="Tokens" value={formatCount(now?.tokens ?? 0)}>
        <LineChart {...common} points={tokens} format={formatCompact} label="Tokens over time" />
      </Line>
      <Line name="Cost" value={formatCost(now === null ? 0 : now.costUsd)}>
        {cost.length === 0 && usage.length > 0 ? (
          <p className={classes.unknown}>The price of this model is not known.</p>
        ) : (
          <LineChart {...common} points={cost} format={formatCost} label="Cost over time" />
        )}
      </Line>
      <div className={classes.axis} aria-hidden>
        <span>0:00</span>
        <span>{formatClock(span)}</span>
      </div>
    </Panel>
  )
}

type LineProps = {
  readonly name: string
  readonly value: string
  readonly children: ReactNode
}

function Line({ name, value, children }: LineProps) {
  return (
    <div className={classes.line}>
      <div className={classes.head}>
        <span>{name}</span>
        <b>{value}</b>
      </div>
      {children}
    </div>
  )
}
