import { IconHandStop } from '@tabler/icons-react'
import type { RowOf } from '../run/rows.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatDuration } from '../ui/format.ts'
import { By } from './by.tsx'
import { Frame } from './frame.tsx'
import classes from './rows.module.css'

type Props = { readonly row: RowOf<'human'>; readonly moment: number; readonly ended: boolean }

export function HumanRow({ row: { required, response: whole }, moment, ended }: Props) {
  const response = whole !== null && whole.seq <= moment ? whole : null
  return (
    <Frame
      records={response === null ? [required] : [required, response]}
      icon={<IconHandStop size={15} stroke={1.9} />}
      tone="human"
    >
      <div className={classes.human} data-open={response === null && !ended}>
        <b>A person was asked</b>
        <p className={classes.reason}>{visible(required.payload.summary)}</p>
        {response === null ? (
          <p className={classes.quiet}>
            {ended ? 'The run ended without an answer.' : 'No answer yet.'}
          </p>
        ) : (
          <div className={classes.answer}>
            <span>
              <b>{response.payload.decision === 'approve' ? 'Approved' : 'Aborted'}</b>
              <By record={response} />
            </span>
            <span className={classes.quiet}>after {formatDuration(response.ts - required.ts)}</span>
            {response.payload.seen !== undefined && (
              <span className={classes.quiet}>
                with record {response.payload.seen.seq} on the screen
              </span>
            )}
            {response.payload.reason !== null && <q>{visible(response.payload.reason)}</q>}
          </div>
        )}
      </div>
    </Frame>
  )
}
