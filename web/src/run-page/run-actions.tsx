import { Button } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { IconAdjustmentsHorizontal, IconMessage, IconPlayerStopFilled } from '@tabler/icons-react'
import type { Seen } from '../../../src/api/records.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { useMayNot } from '../api/use-may.ts'
import { AbortDialog } from './abort-dialog.tsx'
import { ConfigDialog } from './config-dialog.tsx'
import { MessageDialog } from './message-dialog.tsx'
import classes from './run-actions.module.css'

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
  const mayNotWrite = useMayNot('runs:message')
  const mayNotConfigure = useMayNot('runs:configure')
  const mayNotAbort = useMayNot('runs:abort')
  if (state.phase.type === 'ended') return null
  return (
    <div className={classes.actions}>
      <Button
        variant="default"
        size="xs"
        aria-label="Send a message to the agent"
        classNames={{ section: classes.section }}
        leftSection={<IconMessage size={15} />}
        disabled={mayNotWrite !== null}
        title={mayNotWrite ?? undefined}
        onClick={write.open}
      >
        <span className={classes.label}>Message</span>
      </Button>
      <Button
        variant="default"
        size="xs"
        aria-label="Change the run"
        classNames={{ section: classes.section }}
        leftSection={<IconAdjustmentsHorizontal size={15} />}
        disabled={mayNotConfigure !== null}
        title={mayNotConfigure ?? undefined}
        onClick={configure.open}
      >
        <span className={classes.label}>Change</span>
      </Button>
      <Button
        variant="default"
        size="xs"
        className={classes.abort}
        aria-label="Abort the run"
        classNames={{ section: classes.section }}
        leftSection={<IconPlayerStopFilled size={14} />}
        disabled={mayNotAbort !== null}
        title={mayNotAbort ?? undefined}
        onClick={abort.open}
      >
        <span className={classes.label}>Abort</span>
      </Button>
      <AbortDialog runId={runId} seen={seen} opened={aborting} onClose={abort.close} />
      {writing && <MessageDialog runId={runId} seen={seen} onClose={write.close} />}
      {configuring && (
        <ConfigDialog runId={runId} seen={seen} config={state.config} onClose={configure.close} />
      )}
    </div>
  )
}
