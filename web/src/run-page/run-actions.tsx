import { Button, Textarea } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import {
  IconAdjustmentsHorizontal,
  IconMessage,
  IconPlayerStopFilled,
  IconRepeat,
} from '@tabler/icons-react'
import { useMutation } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { useLocation } from 'wouter'
import { requestOfRun } from '../../../src/api/create-run.ts'
import type { Seen } from '../../../src/api/records.ts'
import type { SendMessage } from '../../../src/api/run-requests.ts'
import type { Permission } from '../../../src/client/index.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { client } from '../api/client.ts'
import { answerOf, problemsIn } from '../api/problem.ts'
import { useAttempt } from '../api/use-attempt.ts'
import { useMayNot } from '../api/use-may.ts'
import { AbortDialog } from '../decide/abort-dialog.tsx'
import { seenIn } from '../run/answers.ts'
import type { RunView } from '../run/run-view.ts'
import { type Draft, draftOf } from '../start/draft.ts'
import { StartForm } from '../start/start-form.tsx'
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
      <Action
        label="Continue"
        name="Continue this run"
        icon={<IconMessage size={15} />}
        permission="runs:create"
        onClick={write.open}
      />
      <Action
        label="Run again"
        name="Run again"
        icon={<IconRepeat size={15} />}
        permission="runs:create"
        onClick={again.mutate}
      />
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
      <Action
        label="Message"
        name="Send a message to the agent"
        icon={<IconMessage size={15} />}
        permission="runs:message"
        onClick={write.open}
      />
      <Action
        label="Change"
        name="Change the run"
        icon={<IconAdjustmentsHorizontal size={15} />}
        permission="runs:configure"
        onClick={configure.open}
      />
      <Action
        label="Abort"
        name="Abort the run"
        icon={<IconPlayerStopFilled size={14} />}
        permission="runs:abort"
        className={classes.abort}
        onClick={abort.open}
      />
      {aborting && <AbortWithReason runId={runId} seen={seen} onClose={abort.close} />}
      {writing && <MessageDialog runId={runId} seen={seen} onClose={write.close} />}
      {configuring && (
        <ConfigDialog runId={runId} seen={seen} config={state.config} onClose={configure.close} />
      )}
    </div>
  )
}

type ActionProps = {
  readonly label: string
  /** What the button is called where there is no room for its label. */
  readonly name: string
  readonly icon: ReactNode
  readonly permission: Permission
  readonly className?: string | undefined
  readonly onClick: () => void
}

function Action({ label, name, icon, permission, className, onClick }: ActionProps) {
  const mayNot = useMayNot(permission)
  return (
    <Button
      variant="default"
      size="xs"
      className={className}
      aria-label={name}
      classNames={{ section: classes.section }}
      leftSection={icon}
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
        value={reason}
        onChange={(event) => setReason(event.currentTarget.value)}
        data-autofocus
      />
    </AbortDialog>
  )
}

/** What a person says to the agent of a run. If that has ended, another run continues it. */
function MessageDialog({
  runId,
  seen,
  isOver = false,
  onClose,
}: DialogProps & { readonly isOver?: boolean }) {
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
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
        error={problemsIn(send.error)('text')}
        data-autofocus
      />
    </FormDialog>
  )
}
