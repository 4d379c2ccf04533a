import { VisuallyHidden } from '@mantine/core'
import { IconCheck, IconPlayerStopFilled, IconX } from '@tabler/icons-react'
import { useState } from 'react'
import type { Decision } from '../../../src/api/records.ts'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import { useStatusNames } from '../api/use-may.ts'
import { type Answer, answerTo } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { principalOf } from '../run/seq-record.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatDuration } from '../ui/format.ts'
import { STATUS_NAMES } from '../ui/status.ts'
import { ApprovalPanel } from './approval-panel.tsx'
import { IterationChanges } from './iteration-changes.tsx'
import { PausePanel } from './pause-panel.tsx'
import classes from './questions.module.css'
import { type Choice, WaitingPanel } from './waiting-panel.tsx'

type QuestionsProps = {
  readonly runId: string
  readonly view: RunView
  /** While the history comes in, checks that were answered long ago are open for a moment. */
  readonly current: boolean
  /** Shows what an iteration changed. */
  readonly onShowChanges: (iteration: number) => void
}

/** What the run asks people, and how the last question was decided. */
export function Questions({ runId, view, current, onShowChanges }: QuestionsProps) {
  const phase = current ? view.state?.phase : undefined
  const open = phase?.type === 'awaiting_human' ? phase : null
  const call = phase?.type === 'awaiting_approval' ? phase : null
  const paused = phase?.type === 'paused' ? phase : null
  const config = view.state?.config
  return (
    <>
      {open !== null && (
        <DecidePanel
          key={open.seq}
          runId={runId}
          seq={open.seq}
          summary={open.summary}
          view={view}
          onShowChanges={onShowChanges}
        />
      )}
      {call !== null && <ApprovalPanel key={call.seq} runId={runId} open={call} view={view} />}
      {paused !== null && config !== undefined && (
        <PausePanel key={paused.seq} runId={runId} open={paused} config={config} view={view} />
      )}
      <div role="status">
        {(open ?? call ?? paused) !== null && (
          <VisuallyHidden>This run waits for a person</VisuallyHidden>
        )}
        <DecidedNote view={view} open={open?.seq ?? null} />
      </div>
    </>
  )
}

type Props = {
  readonly runId: string
  /** The human check that is open. */
  readonly seq: number
  readonly summary: string
  readonly view: RunView
  readonly onShowChanges: (iteration: number) => void
}

const CHOICES: readonly [Choice<Decision>, Choice<Decision>] = [
  { decision: 'approve', label: 'Approve', icon: <IconCheck size={17} /> },
  {
    decision: 'abort',
    label: 'Abort the run',
    isGrave: true,
    icon: <IconPlayerStopFilled size={14} />,
  },
]

/** A run that waits for a person after an iteration. */
function DecidePanel({ runId, seq, summary, view, onShowChanges }: Props) {
  const names = useStatusNames()
  return (
    <WaitingPanel
      testId="decide"
      title={`This run ${names.awaiting_human.toLowerCase()}`}
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
      <IterationChanges runId={runId} seq={seq} view={view} onShow={onShowChanges} />
      <Before view={view} seq={seq} />
    </WaitingPanel>
  )
}

/** How the check before this one was answered, if there was one. */
function Before({ view, seq }: Pick<Props, 'view' | 'seq'>) {
  const isCheck = (other: number) => view.records[other]?.kind === 'human_check_required'
  const before = view.humanChecks.findLast((other) => other < seq && isCheck(other))
  const answer = before === undefined ? null : answerTo(view, before)
  if (before === undefined || answer === null) return null
  return (
    <p className={classes.before}>
      Last time: <AnswerWords answer={answer} askedAt={view.records[before]?.ts ?? answer.ts} />
    </p>
  )
}

type NoteProps = {
  readonly view: RunView
  /** seq of the human check that is open; null for none. */
  readonly open: number | null
}

/** Shows how the check that was open on this page has been answered, and by whom. */
function DecidedNote({ view, open }: NoteProps) {
  const [asked, setAsked] = useState(open)
  if (open !== null && open !== asked) setAsked(open)
  const answer = open === null && asked !== null ? answerTo(view, asked) : null
  if (answer === null) return null
  const approved = answer.kind === 'human_check_response' && answer.payload.decision === 'approve'
  return (
    <div className={classes.decided} data-testid="decided" data-approved={approved}>
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

/** The answer to a human check in a sentence: who answered what, how soon, and why. */
function AnswerWords({ answer, askedAt }: { readonly answer: Answer; readonly askedAt: number }) {
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
