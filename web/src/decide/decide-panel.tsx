import { Button, TextInput } from '@mantine/core'
import { IconCheck, IconHandStop, IconPlayerStopFilled } from '@tabler/icons-react'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import type { Decision } from '../../../src/api/records.ts'
import { client } from '../api/client.ts'
import { answerOf, messageOf } from '../api/problem.ts'
import { useMayNot } from '../api/use-may.ts'
import { answerTo, seenIn } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { DECISION_ID } from '../run-page/use-run-shortcuts.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatClock, formatMoment } from '../ui/format.ts'
import { useNow } from '../ui/use-now.ts'
import { AnswerWords } from './answer-words.tsx'
import classes from './decide-panel.module.css'

type Props = {
  readonly runId: string
  /** The human check that is open. */
  readonly seq: number
  readonly summary: string
  readonly view: RunView
}

/** A run that waits for a person, in a prominent place. */
export function DecidePanel({ runId, seq, summary, view }: Props) {
  const [reason, setReason] = useState('')
  const since = view.records[seq]?.ts ?? 0
  const now = useNow(1000) / 1000
  const decide = useMutation({
    mutationFn: (decision: Decision) =>
      answerOf(
        client().runs.resume(runId, {
          decision,
          reason: reason.trim() || null,
          seq,
          seen: seenIn(view),
        }),
      ),
  })
  const mayNot = useMayNot('runs:decide')
  const busy = decide.isPending || decide.isSuccess
  return (
    <section className={classes.panel} aria-label="Your decision" data-testid="decide">
      <span className={classes.hand} aria-hidden>
        <IconHandStop size={22} stroke={2} />
      </span>
      <div className={classes.text}>
        <h2 className={classes.title}>
          {mayNot === null ? 'This run waits for you' : 'This run waits for somebody else'}
          <span className={classes.since} title={`Asked at ${formatMoment(since)}`}>
            {formatClock(now - since)}, since record {seq}
          </span>
        </h2>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
        <section className={classes.words} tabIndex={0} aria-label="What is asked">
          <p className={classes.summary}>{visible(summary)}</p>
          <Before view={view} seq={seq} />
        </section>
        {decide.isError && (
          <p className={classes.problem} role="alert">
            {messageOf(decide.error)}
          </p>
        )}
      </div>
      {mayNot === null ? (
        <form
          className={classes.form}
          onSubmit={(event) => {
            event.preventDefault()
            decide.mutate('approve')
          }}
        >
          <TextInput
            id={DECISION_ID}
            aria-label="Reason: it is recorded, and the model reads it"
            placeholder="Optional reason or advice"
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            disabled={busy}
          />
          <div className={classes.buttons}>
            <Button
              type="submit"
              className={classes.approve}
              leftSection={<IconCheck size={17} />}
              loading={decide.isPending && decide.variables === 'approve'}
              disabled={busy}
            >
              Approve
            </Button>
            <Button
              variant="default"
              leftSection={<IconPlayerStopFilled size={14} />}
              loading={decide.isPending && decide.variables === 'abort'}
              disabled={busy}
              onClick={() => decide.mutate('abort')}
            >
              Abort the run
            </Button>
          </div>
        </form>
      ) : (
        <p className={classes.summary}>{mayNot}</p>
      )}
    </section>
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
