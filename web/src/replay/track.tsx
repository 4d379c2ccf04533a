import { memo, useMemo } from 'react'
import type { AtMoment } from '../run/moments.ts'
import { type RunView, stateAt } from '../run/run-view.ts'
import { marksOf, thin } from './marks.ts'
import classes from './track.module.css'

/** The whole run as a line: drag to any of its records. */
export function Track({ view, moment, onSeek }: AtMoment) {
  const last = Math.max(0, view.records.length - 1)
  const record = view.records[moment]
  const iteration = stateAt(view, moment)?.iteration ?? 0
  return (
    <div className={classes.track}>
      <Picture view={view} />
      <div
        className={classes.past}
        style={{ width: `${last === 0 ? 100 : (100 * moment) / last}%` }}
      />
      <input
        className={classes.input}
        type="range"
        aria-label="Moment of the run"
        aria-valuetext={`Record ${moment} of ${last}, iteration ${iteration}, ${record?.kind ?? 'none'}`}
        min={0}
        max={last}
        value={Math.max(0, moment)}
        onChange={(event) => onSeek(Number(event.currentTarget.value))}
      />
    </div>
  )
}

const ROOM = 240

/** Iterations, and how each check of the goal went. */
const Picture = memo(function Picture({ view }: { readonly view: RunView }) {
  const last = Math.max(1, view.records.length - 1)
  const x = (seq: number): string => `${(100 * seq) / last}%`
  const starts = useMemo(() => thin(view.iterationStarts, ROOM), [view.iterationStarts])
  const marks = useMemo(() => marksOf(view, ROOM), [view])
  return (
    <svg className={classes.picture} aria-hidden="true">
      {starts.map((seq) => (
        <line key={seq} className={classes.start} x1={x(seq)} x2={x(seq)} y1="0" y2="100%" />
      ))}
      {marks.map(({ seq, type, height }) => (
        <line
          key={seq}
          className={classes.mark}
          data-type={type}
          x1={x(seq)}
          x2={x(seq)}
          y1={`${100 - 100 * height}%`}
          y2="100%"
        />
      ))}
    </svg>
  )
})
