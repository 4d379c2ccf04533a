import { scaleLinear } from 'd3-scale'
import { area, curveStepAfter, line } from 'd3-shape'
import { type MouseEvent, memo, type ReactNode, useMemo } from 'react'
import { thin } from '../replay/marks.ts'
import { type AtMoment, countUpTo, lastUpTo } from '../run/moments.ts'
import { counted, formatClock, formatCompact, formatCost, formatCount } from '../ui/format.ts'
import { Panel } from './panel.tsx'
import classes from './usage-panel.module.css'

const ROOM = 300

/** What the run has used, over its time. */
export function UsagePanel({ view, moment, onSeek }: AtMoment) {
  const { usage, records } = view
  const began = records[0]?.ts ?? 0
  const points = useMemo(() => thin(usage, ROOM), [usage])
  const [tokens, cost] = useMemo(() => {
    const charted = (of: 'tokens' | 'costUsd') =>
      points.flatMap(({ ts, seq, [of]: y }) => (y === null ? [] : [{ x: ts - began, y, seq }]))
    return [charted('tokens'), charted('costUsd')]
  }, [points, began])
  const span = Math.max(0.001, (records.at(-1)?.ts ?? began) - began)
  const at = (records[moment]?.ts ?? began) - began
  const now = lastUpTo(usage, moment)
  const calls = countUpTo(usage, moment, ({ seq }) => seq)
  const common = { span, at, onSeek }
  return (
    <Panel title="Tokens and cost" aside={counted(calls, 'model call')}>
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

type LineProps = { readonly name: string; readonly value: string; readonly children: ReactNode }

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

type ChartPoint = {
  /** Seconds since the run began. */
  readonly x: number
  readonly y: number
  readonly seq: number
}

type ChartProps = {
  readonly points: readonly ChartPoint[]
  /** Seconds that the whole chart spans. */
  readonly span: number
  /** The time of the record that is shown, seconds. */
  readonly at: number
  readonly format: (value: number) => string
  readonly label: string
  readonly onSeek: (seq: number) => void
}

const WIDTH = 320
const HEIGHT = 72
const TOP = 6

/** A total that only grows, as steps over time; the part after the moment is faint. */
const LineChart = memo(function LineChart(props: ChartProps) {
  const { points, span, at, format, label, onSeek } = props
  const most = points.at(-1)?.y ?? 0
  const x = scaleLinear([0, span], [0, WIDTH])
  const y = scaleLinear([0, most || 1], [HEIGHT - 1, TOP])
  const all: ChartPoint[] = [{ x: 0, y: 0, seq: 0 }, ...points, { x: span, y: most, seq: 0 }]
  const past = all.filter((point) => point.x <= at)
  const now = past.at(-1)
  const shown = now === undefined ? [] : [...past, { ...now, x: at }]
  const seek = (event: MouseEvent<SVGSVGElement>): void => {
    const box = event.currentTarget.getBoundingClientRect()
    const wanted = x.invert((WIDTH * (event.clientX - box.left)) / box.width)
    const nearest = points.reduce<ChartPoint | null>(
      (best, point) =>
        best === null || Math.abs(point.x - wanted) < Math.abs(best.x - wanted) ? point : best,
      null,
    )
    if (nearest !== null) onSeek(nearest.seq)
  }
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the slider of the replay does this by keyboard
    <svg
      className={classes.chart}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${label}, ${format(most)} in total`}
      onClick={seek}
    >
      <title>{label}</title>
      <line className={classes.base} x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      <path className={classes.future} d={outline(all, x, y)} />
      <path className={classes.area} d={filling(shown, x, y)} />
      <path className={classes.past} d={outline(shown, x, y)} />
      <line className={classes.moment} x1={x(at)} x2={x(at)} y1="0" y2={HEIGHT} />
    </svg>
  )
})

type Scale = (value: number) => number

const outline = (points: readonly ChartPoint[], x: Scale, y: Scale): string =>
  line<ChartPoint>()
    .x((point) => x(point.x))
    .y((point) => y(point.y))
    .curve(curveStepAfter)([...points]) ?? ''

const filling = (points: readonly ChartPoint[], x: Scale, y: Scale): string =>
  area<ChartPoint>()
    .x((point) => x(point.x))
    .y0(HEIGHT)
    .y1((point) => y(point.y))
    .curve(curveStepAfter)([...points]) ?? ''
