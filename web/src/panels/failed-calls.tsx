import { useMemo } from 'react'
import { countUpTo } from '../run/moments.ts'
import type { RunView } from '../run/run-view.ts'
import { counted } from '../ui/format.ts'
import classes from './approach-panel.module.css'

type Props = {
  readonly view: RunView
  readonly moment: number
  readonly onSeek: (seq: number) => void
}

/** How many calls have failed up to a moment. It leads from one to the one before. */
export function FailedCalls({ view: { rows }, moment, onSeek }: Props) {
  const all = useMemo(
    () =>
      rows.flatMap((row) => {
        const result = row.type === 'tool' ? row.result : null
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
