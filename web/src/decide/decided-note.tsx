import { IconCheck, IconPlayerStopFilled, IconX } from '@tabler/icons-react'
import { useState } from 'react'
import { answerTo } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { AnswerWords } from './answer-words.tsx'
import classes from './decide-panel.module.css'

type Props = {
  readonly view: RunView
  /** seq of the human check that is open; null for none. */
  readonly open: number | null
}

/** Shows how the check that was open on this page has been answered, and by whom. */
export function DecidedNote({ view, open }: Props) {
  const [asked, setAsked] = useState(open)
  if (open !== null && open !== asked) setAsked(open)
  const answer = open === null && asked !== null ? answerTo(view, asked) : null
  if (answer === null) return null
  const approved = answer.kind === 'human_check_response' && answer.payload.decision === 'approve'
  return (
    <div className={classes.decided} role="status" data-testid="decided" data-approved={approved}>
      {approved ? (
        <IconCheck size={17} stroke={2.2} aria-hidden />
      ) : (
        <IconPlayerStopFilled size={14} aria-hidden />
      )}
      <span>
        <AnswerWords answer={answer} askedAt={view.records[asked ?? 0]?.ts ?? answer.ts} />
      </span>
      <button
        type="button"
        className={classes.dismiss}
        aria-label="Dismiss"
        onClick={() => setAsked(null)}
      >
        <IconX size={16} stroke={1.8} />
      </button>
    </div>
  )
}
