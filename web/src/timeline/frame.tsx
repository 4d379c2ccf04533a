import { Tooltip } from '@mantine/core'
import { IconBraces } from '@tabler/icons-react'
import { type ReactNode, use } from 'react'
import { formatFullTime, formatOffset } from '../ui/format.ts'
import classes from './frame.module.css'
import { RowToolsContext } from './row-context.ts'

type Props = {
  /** The records in it, the first one first. */
  readonly seqs: readonly number[]
  /** Seconds since the epoch. */
  readonly ts: number
  readonly icon?: ReactNode
  readonly tone?: 'plain' | 'running' | 'human' | 'achieved' | 'failed'
  readonly children: ReactNode
}

/** What is around every row: when it was, where it is in the stream, and its records as they are. */
export function Frame({ seqs, ts, icon, tone = 'plain', children }: Props) {
  const { began, seek, showRecords } = use(RowToolsContext)
  const [seq = 0] = seqs
  return (
    <div className={classes.frame} data-tone={tone}>
      <button
        type="button"
        className={classes.when}
        title={`Record ${seq}, ${formatFullTime(ts)}. Look at this moment.`}
        onClick={() => seek(seq)}
      >
        <span className={classes.clock}>{formatOffset(ts - began)}</span>
        <span className={classes.seq}>#{seq}</span>
      </button>
      <span className={classes.rail} aria-hidden>
        {icon !== undefined && <span className={classes.icon}>{icon}</span>}
      </span>
      <div className={classes.body}>{children}</div>
      <Tooltip label="Records as they are" position="left">
        <button
          type="button"
          className={classes.raw}
          aria-label={`Show record ${seq} as it is`}
          onClick={() => showRecords(seqs)}
        >
          <IconBraces size={15} stroke={1.7} />
        </button>
      </Tooltip>
    </div>
  )
}
