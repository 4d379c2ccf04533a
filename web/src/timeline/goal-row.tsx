import { IconTarget, IconTargetArrow } from '@tabler/icons-react'
import type { Verdict } from '../../../src/api/records.ts'
import { Code } from '../code/code.tsx'
import { useFold } from '../code/fold.tsx'
import type { RowOf } from '../run/rows.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatDuration } from '../ui/format.ts'
import { Frame } from './frame.tsx'
import classes from './rows.module.css'

const headOf = (achieved: boolean, verdict: Verdict | undefined): string => {
  if (verdict === 'cannot_check') return 'Cannot be checked'
  return achieved ? 'Goal reached' : 'Not there yet'
}

export function GoalRow({ row: { check } }: { readonly row: RowOf<'goal'> }) {
  const { achieved, verdict, reason, details, duration_ms } = check.payload
  const [open, toggle] = useFold(`goal ${check.seq}`)
  const Icon = achieved ? IconTargetArrow : IconTarget
  return (
    <Frame
      records={[check]}
      icon={<Icon size={15} stroke={1.8} />}
      tone={achieved ? 'achieved' : 'failed'}
    >
      <div className={classes.verdict} data-achieved={achieved}>
        <div className={classes.verdictHead}>
          <b>{headOf(achieved, verdict)}</b>
          <span className={classes.quiet}>checked in {formatDuration(duration_ms / 1000)}</span>
        </div>
        <p className={classes.reason}>{visible(reason)}</p>
        {details.trim() !== '' && (
          <button type="button" className={classes.link} aria-expanded={open} onClick={toggle}>
            {open ? 'Hide what the check printed' : 'What the check printed'}
          </button>
        )}
      </div>
      {open && (
        <div className={classes.printed}>
          <Code text={details.trimEnd()} look="terminal" />
        </div>
      )}
    </Frame>
  )
}
