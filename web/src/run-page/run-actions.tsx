import { Button, Textarea } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import {
  IconAdjustmentsHorizontal,
  IconMessage,
  IconPlayerStopFilled,
  IconRepeat,
} from '@tabler/icons-react'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'wouter'
import { requestOfRun } from '../../../src/api/create-run.ts'
import type { Seen } from '../../../src/api/records.ts'
import type { SendMessage } from '../../../src/api/run-requests.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { client } from '../api/client.ts'
import { answerOf, problemsIn } from '../api/problem.ts'
import { useAttempt } from '../api/use-attempt.ts'
import { useMayNot } from '../api/use-may.ts'
import { AbortDialog } from '../decide/abort-dialog.tsx'
import { seenIn } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { type Draft, draftOf } from '../start/draft.ts'
import StartForm from '../start/start-form.tsx'
import { bound } from '../ui/field.ts'
import { FormDialog } from '../ui/form-dialog.tsx'
import { ConfigDialog } from './config-dialog.tsx'
import classes from './run-header.module.css'

type Props = { readonly runId: string; readonly view: RunView; readonly state: RunState }

/** What a person can do to a run. */
export function RunActions(props: Props) {
  return props.state.phase.type === 'ended' ? <EndedActions {...props} /> : <Actions {...props} />
}

/** What comes after a run that has ended. */
function EndedActions({ runId, view }: Props) {
  const [writing, write] = useDisclosure(false)
  const again = useMutation({ mutationFn: () => draftAgain(runId, view) })
  return (
    <div className={classes.actions}>
      <Action is="goOn" onClick={write.open} />
      <Action is="again" onClick={again.mutate} />
      {writing && <MessageDialog runId={runId} seen={seenIn(view)} isOver onClose={write.close} />}
      {again.data !== undefined && <StartForm initial={again.data} onClose={again.reset} />}
    </div>
  )
}

/** The form of the same run again, with the check that its agent did not see. */
async function draftAgain(runId: string, { records: [first] }: RunView): Promise<Draft> {
  if (first?.kind !== 'run_created') throw new Error('The run has no first record.')
  const { accept } = first.payload.config
  const kept = accept && (await answerOf(client().history.artifact(runId, accept.sha256)))
  return draftOf(requestOfRun(first.payload, kept ? await new Response(kept).text() : null))
}

/** What a person can do to a run that has not ended. */
function Actions({ runId, view, state }: Props) {
  // The last record of the page, which the log records with the person's decision.
  const seen = seenIn(view)
  const [aborting, abort] = useDisclosure(false)
  const [configuring, configure] = useDisclosure(false)
  const [writing, write] = useDisclosure(false)
  return (
    <div className={classes.actions}>
      <Action is="message" onClick={write.open} />
      <Action is="change" onClick={configure.open} />
      <Action is="abort" onClick={abort.open} />
      {aborting && <AbortWithReason runId={runId} seen={seen} onClose={abort.close} />}
      {writing && <MessageDialog runId={runId} seen={seen} onClose={write.close} />}
      {configuring && (
        <ConfigDialog runId={runId} seen={seen} config={state.config} onClose={configure.close} />
      )}
    </div>
  )
}

/** The label of each button, its name where there is no room for that, its icon, and the right that it takes. */
const ACTIONS = {
  goOn: ['Continue', 'Continue this run', IconMessage, 'runs:create'],
  again: ['Run again', 'Run again', IconRepeat, 'runs:create'],
  message: ['Message', 'Send a message to the agent', IconMessage, 'runs:message'],
  change: ['Change', 'Change the run', IconAdjustmentsHorizontal, 'runs:configure'],
  abort: ['Abort', 'Abort the run', IconPlayerStopFilled, 'runs:abort'],
} as const

type ActionProps = { readonly is: keyof typeof ACTIONS; readonly onClick: () => void }

function Action({ is, onClick }: ActionProps) {
  const [label, name, Icon, permission] = ACTIONS[is]
  const mayNot = useMayNot(permission)
  return (
    <Button
      variant="default"
      size="xs"
      className={is === 'abort' ? classes.abort : undefined}
      aria-label={name}
      classNames={{ section: classes.section }}
      leftSection={<Icon size={is === 'abort' ? 14 : 15} />}
      disabled={mayNot !== null}
      title={mayNot ?? undefined}
      onClick={onClick}
    >
      <span className={classes.label}>{label}</span>
    </Button>
  )
}

type DialogProps = {
  readonly runId: string
  readonly seen: Seen | null
  /** Whether the run has ended. */
  readonly isOver?: boolean
  readonly onClose: () => void
}

function AbortWithReason({ runId, seen, onClose }: DialogProps) {
  const [reason, setReason] = useState('')
  const body = { reason: reason.trim() || null, seen }
  return (
    <AbortDialog abort={() => answerOf(client().runs.abort(runId, body))} onClose={onClose}>
      <Textarea
        label="Reason"
        description="Optional. It is recorded in the log."
        autosize
        minRows={1}
        maxRows={5}
        {...bound(reason, setReason)}
        data-autofocus
      />
    </AbortDialog>
  )
}

/** What a person says to the agent of a run. If that has ended, another run continues it. */
function MessageDialog({ runId, seen, isOver = false, onClose }: DialogProps) {
  const [, navigate] = useLocation()
  const [text, setText] = useState('')
  const attempt = useAttempt<SendMessage>()
  const send = useMutation({
    mutationFn: () => {
      const { body, idempotencyKey } = attempt(text, { text, seen })
      return answerOf(client().runs.send(runId, body, { idempotencyKey }))
    },
    onSuccess: ({ run_id }) => {
      onClose()
      if (run_id !== runId) navigate(`/runs/${run_id}`)
    },
  })
  return (
    <FormDialog
      title={isOver ? 'Continue this run' : 'Send a message to the agent'}
      onClose={onClose}
      sending={send}
      labels={{ send: isOver ? 'Continue' : 'Send' }}
      disabled={text.trim() === ''}
    >
      <Textarea
        label="Message"
        description={
          isOver
            ? 'A new run continues from here in the same folder, with the same settings and limits of its own.'
            : 'The agent reads it before its next reply. It is recorded in the log.'
        }
        autosize
        minRows={3}
        maxRows={12}
        {...bound(text, setText)}
        error={problemsIn(send.error)('text')}
        data-autofocus
      />
    </FormDialog>
  )
}
