import { Text } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { FormDialog } from '../ui/form-dialog.tsx'

type Props = {
  readonly abort: () => Promise<unknown>
  readonly onClose: () => void
  readonly children?: ReactNode
}

/** Asks before a run ends for ever, wherever a person ends it. */
export function AbortDialog({ abort, onClose, children }: Props) {
  const sending = useMutation({ mutationFn: abort, onSuccess: onClose })
  return (
    <FormDialog
      title="Abort this run?"
      onClose={onClose}
      sending={sending}
      labels={{ send: 'Abort the run', leave: 'Keep it running' }}
      isGrave
    >
      <Text size="sm">
        The run stops at once. Its changes in the project stay. A message can begin another run that
        continues it.
      </Text>
      {children}
    </FormDialog>
  )
}
