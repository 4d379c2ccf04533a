import type { Answer } from '../run/answers.ts'
import { principalOf } from '../run/attribution.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatDuration } from '../ui/format.ts'
import { STATUS_NAMES } from '../ui/status.ts'
import classes from './decide-panel.module.css'

/** The answer to a human check in a sentence: who answered what, how soon, and why. */
export function AnswerWords({
  answer,
  askedAt,
}: {
  readonly answer: Answer
  readonly askedAt: number
}) {
  const principal = principalOf(answer)
  const { reason } = answer.payload
  return (
    <>
      <b>{verbOf(answer)}</b>
      {principal !== null && (
        <>
          {' '}
          by <b>{principal}</b>
        </>
      )}{' '}
      after {formatDuration(answer.ts - askedAt)}
      {reason !== null && reason !== '' && (
        <>
          : <q className={classes.quote}>{visible(reason)}</q>
        </>
      )}
    </>
  )
}

function verbOf(answer: Answer): string {
  if (answer.kind === 'run_end') return STATUS_NAMES[answer.payload.status]
  return answer.payload.decision === 'approve' ? 'Approved' : 'Aborted'
}
