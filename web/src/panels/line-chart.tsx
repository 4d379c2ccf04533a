import { scaleLinear } from 'd3-scale'
import { area, curveStepAfter, line } from 'd3-shape'
import { type MouseEvent, memo } from 'react'
import classes from './line-chart.module.css'

export type ChartPoint = {
  /** Seconds since the run began. */
  readonly x: number
  readonly y: number
  readonly seq: number
}

type Props = {
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
export const LineChart = memo(function LineChart(props: Props) {
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
