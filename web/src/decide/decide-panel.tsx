import { IconCheck, IconPlayerStopFilled } from '@tabler/icons-react'
import type { Decision } from '../../../src/api/records.ts'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import { answerTo } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { visible } from '../ui/foreign-text.ts'
import { AnswerWords } from './answer-words.tsx'
import classes from './decide-panel.module.css'
import { type Choice, WaitingPanel } from './waiting-panel.tsx'

type Props = {
  readonly runId: string
  /** The human check that is open. */
  readonly seq: number
  readonly summary: string
  readonly view: RunView
}

const CHOICES: readonly [Choice<Decision>, Choice<Decision>] = [
  { decision: 'approve', label: 'Approve', icon: <IconCheck size={17} /> },
  { decision: 'abort', label: 'Abort the run', icon: <IconPlayerStopFilled size={14} /> },
]

/** A run that waits for a person after an iteration. */
export function DecidePanel({ runId, seq, summary, view }: Props) {
  return (
    <WaitingPanel
      testId="decide"
      title="This run waits for you"
      titleForOthers="This run waits for somebody else"
      view={view}
      seq={seq}
      choices={CHOICES}
      reasonLabel="Reason: it is recorded, and the model reads it"
      placeholder="Optional reason or advice"
      decide={(decision, grounds) =>
        answerOf(client().runs.resume(runId, { decision, seq, ...grounds }))
      }
    >
      <p className={classes.summary}>{visible(summary)}</p>
      <Before view={view} seq={seq} />
    </WaitingPanel>
  )
}

/** How the check before this one was answered, if there was one. */
function Before({ view, seq }: Pick<Props, 'view' | 'seq'>) {
  const before = view.humanChecks.findLast((other) => other < seq)
  const answer = before === undefined ? null : answerTo(view, before)
  if (before === undefined || answer === null) return null
  return (
    <p className={classes.before}>
      The last time: <AnswerWords answer={answer} askedAt={view.records[before]?.ts ?? answer.ts} />
    </p>
  )
}
