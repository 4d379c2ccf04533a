import { useMemo } from 'react'
import { type AtMoment, countUpTo } from '../run/moments.ts'
import { counted } from '../ui/format.ts'
import classes from './approach-panel.module.css'

/** How many calls have failed up to a moment. It leads from one to the one before. */
export function FailedCalls({ view: { rows }, moment, onSeek }: AtMoment) {
  const all = useMemo(
    () =>
      rows.flatMap((row) => {
        const result = row.type === 'tool' ? row.end : null
        return result === null || result.payload.outcome === 'ok' ? [] : [result]
      }),
    [rows],
  )
  const failed = all.slice(
    0,
    countUpTo(all, moment, ({ seq }) => seq),
  )
  const before = (failed.findLast(({ seq }) => seq < moment) ?? failed.at(-1))?.seq
  if (before === undefined) return null
  return (
    <button
      type="button"
      className={classes.failed}
      title="Go to the one before this moment"
      onClick={() => onSeek(before)}
    >
      {counted(failed.length, 'failed call')}
    </button>
  )
}
