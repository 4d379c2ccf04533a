import { Button, Textarea } from '@mantine/core'
import { IconHandStop } from '@tabler/icons-react'
import { useMutation } from '@tanstack/react-query'
import { type ReactNode, useEffect, useState } from 'react'
import type { Seen } from '../../../src/api/records.ts'
import { messageOf } from '../api/problem.ts'
import { useMayNot } from '../api/use-may.ts'
import { seenIn } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { DECISION_ID } from '../run-page/use-run-shortcuts.ts'
import { bound } from '../ui/field.ts'
import { formatClock, formatMoment } from '../ui/format.ts'
import { ScrollRegion } from '../ui/scroll-region.tsx'
import { useNow } from '../ui/use-now.ts'
import { AbortDialog } from './abort-dialog.tsx'
import classes from './questions.module.css'

/** What a person may decide. Only the buttons decide: Enter in the field of the reason begins a new line. */
export type Choice<D extends string> = {
  readonly decision: D
  readonly label: string
  readonly icon: ReactNode
  /** It ends the run for ever, so a dialog asks first. */
  readonly isGrave?: boolean
}

/** The reason of a person for a decision, and what they had seen. */
type Grounds = { readonly reason: string | null; readonly seen: Seen | null }

type Props<D extends string> = {
  readonly testId: string
  readonly title: string
  readonly view: RunView
  /** The record that asks. */
  readonly seq: number
  readonly choices: readonly [Choice<D>, ...Choice<D>[]]
  /** What the reason is for. */
  readonly reasonLabel: string
  readonly placeholder: string
  /** Sends the decision. Rejects with the reason why it was refused. */
  readonly decide: (decision: D, grounds: Grounds) => Promise<unknown>
  /** What is asked. */
  readonly children: ReactNode
  /** More to choose, below the reason. */
  readonly more?: (isBusy: boolean) => ReactNode
}

/** A run that waits for a person, in a prominent place: what is asked, and the form to answer it. */
export function WaitingPanel<D extends string>(props: Props<D>) {
  const { testId, title, view, seq, children } = props
  const since = view.records[seq]?.ts ?? 0
  const now = useNow(1000) / 1000
  const mayNot = useMayNot('runs:decide')
  return (
    <section
      className={classes.panel}
      aria-label={mayNot === null ? 'Your decision' : 'Decision'}
      data-for-others={mayNot !== null}
      data-testid={testId}
    >
      <span className={classes.hand} aria-hidden>
        <IconHandStop size={22} stroke={2} />
      </span>
      <div className={classes.text}>
        <h2 className={classes.title}>
          {title}
          <span className={classes.since} title={`Asked at ${formatMoment(since)}`}>
            {formatClock(now - since)}, since record {seq}
          </span>
        </h2>
        <ScrollRegion className={classes.words} label="What is asked">
          {children}
        </ScrollRegion>
      </div>
      {mayNot === null ? <AnswerForm {...props} /> : <p className={classes.summary}>{mayNot}</p>}
    </section>
  )
}

/** A question that comes right after another must not be answered by the second tap of a double one, milliseconds. */
const UNSEEN_MS = 600

/** Whether the component has not been shown for long enough to be read. */
function useIsNew(): boolean {
  const [isNew, setNew] = useState(true)
  useEffect(() => {
    const timer = setTimeout(() => setNew(false), UNSEEN_MS)
    return () => clearTimeout(timer)
  }, [])
  return isNew
}

function AnswerForm<D extends string>(props: Props<D>) {
  const { view, choices, decide, more } = props
  const [reason, setReason] = useState('')
  const [asking, setAsking] = useState<Choice<D> | null>(null)
  const answer = useMutation({
    mutationFn: (decision: D) =>
      decide(decision, { reason: reason.trim() || null, seen: seenIn(view) }),
  })
  const isNew = useIsNew()
  const isBusy = answer.isPending || answer.isSuccess
  const [main] = choices
  return (
    <div className={classes.form}>
      <Textarea
        autosize
        minRows={1}
        maxRows={5}
        id={DECISION_ID}
        aria-label={props.reasonLabel}
        placeholder={props.placeholder}
        {...bound(reason, setReason)}
        disabled={isBusy}
        error={answer.isError ? messageOf(answer.error) : null}
        errorProps={{ role: 'alert' }}
      />
      {more?.(isBusy)}
      <div className={classes.buttons}>
        {choices.map((choice) => (
          <Button
            key={choice.decision}
            leftSection={choice.icon}
            loading={answer.isPending && answer.variables === choice.decision}
            disabled={isBusy || isNew}
            {...(choice === main ? { className: classes.approve } : { variant: 'default' })}
            onClick={() => (choice.isGrave ? setAsking(choice) : answer.mutate(choice.decision))}
          >
            {choice.label}
          </Button>
        ))}
      </div>
      {asking !== null && (
        <AbortDialog
          abort={() => answer.mutateAsync(asking.decision)}
          onClose={() => setAsking(null)}
        />
      )}
    </div>
  )
}
