import { Tooltip } from '@mantine/core'
import { IconAlertTriangle, IconBraces, IconEyeOff } from '@tabler/icons-react'
import { type ReactNode, use } from 'react'
import { redactedIn, type SeqRecord } from '../run/seq-record.ts'
import { counted, formatFullTime, formatOffset } from '../ui/format.ts'
import classes from './frame.module.css'
import { RowToolsContext } from './row-context.ts'

type Props = {
  /** Those that it shows, the first one first. */
  readonly records: readonly [SeqRecord, ...SeqRecord[]]
  readonly icon?: ReactNode
  readonly tone?: 'plain' | 'running' | 'human' | 'achieved' | 'failed'
  readonly children: ReactNode
}

/** The frame of every row: its time, its place in the stream, and its raw records. */
export function Frame({ records, icon, tone = 'plain', children }: Props) {
  const { began, bad, seek, showRecords } = use(RowToolsContext)
  const [{ seq, ts }] = records
  const seqs = records.map((record) => record.seq)
  const redacted = records.reduce((sum, record) => sum + redactedIn(record), 0)
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
      <div className={classes.body}>
        {children}
        {redacted > 0 && (
          <p className={classes.mark} data-mark="redacted">
            <IconEyeOff size={14} stroke={1.8} aria-hidden />
            {counted(redacted, 'text')} redacted in this record, according to its metadata
          </p>
        )}
        {bad !== null && seqs.includes(bad) && (
          <p className={classes.mark} data-mark="bad">
            <IconAlertTriangle size={14} stroke={2} aria-hidden />
            Record {bad} is not valid: it differs from what was written
          </p>
        )}
      </div>
      <Tooltip label="Raw records" position="left">
        <button
          type="button"
          className={classes.raw}
          aria-label={`Show the raw record ${seq}`}
          onClick={() => showRecords(seqs)}
        >
          <IconBraces size={15} stroke={1.7} />
        </button>
      </Tooltip>
    </div>
  )
}
