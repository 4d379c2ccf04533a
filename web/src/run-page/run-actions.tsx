import { Button, Textarea } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { IconAdjustmentsHorizontal, IconMessage, IconPlayerStopFilled } from '@tabler/icons-react'
import { useMutation } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import type { Seen } from '../../../src/api/records.ts'
import type { SendMessage } from '../../../src/api/run-requests.ts'
import type { Permission } from '../../../src/client/index.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { client } from '../api/client.ts'
import { answerOf, problemsIn } from '../api/problem.ts'
import { useAttempt } from '../api/use-attempt.ts'
import { useMayNot } from '../api/use-may.ts'
import { AbortDialog } from '../decide/abort-dialog.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { ConfigDialog } from './config-dialog.tsx'
import classes from './run-header.module.css'

type Props = {
  readonly runId: string
  readonly state: RunState
  /** The last record of the page, which the log records with the person's decision. */
  readonly seen: Seen | null
}

/** What a person can do to a run that has not ended. */
export function RunActions({ runId, state, seen }: Props) {
  const [aborting, abort] = useDisclosure(false)
  const [configuring, configure] = useDisclosure(false)
  const [writing, write] = useDisclosure(false)
  if (state.phase.type === 'ended') return null
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

type DialogProps = Pick<Props, 'runId' | 'seen'> & { readonly onClose: () => void }

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

/** What a person says to the agent of a run. */
function MessageDialog({ runId, seen, onClose }: DialogProps) {
  const [text, setText] = useState('')
  const attempt = useAttempt<SendMessage>()
  const send = useMutation({
    mutationFn: () => {
      const { body, idempotencyKey } = attempt(text, { text, seen })
      return answerOf(client().runs.send(runId, body, { idempotencyKey }))
    },
    onSuccess: onClose,
  })
  return (
    <FormDialog
      title="Send a message to the agent"
      onClose={onClose}
      sending={send}
      labels={{ send: 'Send' }}
      disabled={text.trim() === ''}
    >
      <Textarea
        label="Message"
        description="The agent reads it before its next reply. It is recorded in the log."
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
