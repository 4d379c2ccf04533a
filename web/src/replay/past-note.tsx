import { IconHistory } from '@tabler/icons-react'
import { formatCount, formatMoment } from '../ui/format.ts'
import classes from './past-note.module.css'

type Props = {
  readonly moment: number
  /** When that was, seconds since the epoch. */
  readonly ts: number
  readonly ended: boolean
  readonly onNewest: () => void
}

/** A note that the page shows the run as it was, not as it is now. */
export function PastNote({ moment, ts, ended, onNewest }: Props) {
  return (
    <div className={classes.note} role="status">
      <IconHistory size={16} aria-hidden />
      <span>
        As it was at record {formatCount(moment)}
        <span className={classes.clock}>, {formatMoment(ts)}</span>
      </span>
      <button type="button" className={classes.newest} onClick={onNewest}>
        {ended ? 'To the end' : 'Back to live'}
      </button>
    </div>
  )
}
