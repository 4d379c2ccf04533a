import { Alert, Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import type { Seen } from '../../../src/api/records.ts'
import { client } from '../api/client.ts'
import { answerOf, messageOf } from '../api/problem.ts'

type Props = {
  readonly runId: string
  readonly seen: Seen | null
  readonly opened: boolean
  readonly onClose: () => void
}

export function AbortDialog({ runId, seen, opened, onClose }: Props) {
  const [reason, setReason] = useState('')
  const abort = useMutation({
    mutationFn: () => answerOf(client().runs.abort(runId, { reason: reason.trim() || null, seen })),
    onSuccess: onClose,
  })
  return (
    <Modal opened={opened} onClose={onClose} title="Abort this run?">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          abort.mutate()
        }}
      >
        <Stack>
          <Text size="sm">
            The run stops at once and cannot be continued. Its changes in the project stay.
          </Text>
          <TextInput
            label="Reason"
            description="Optional. It is recorded in the log."
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            data-autofocus
          />
          {abort.isError && (
            <Alert color="red" variant="light" role="alert">
              {messageOf(abort.error)}
            </Alert>
          )}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Keep it running
            </Button>
            <Button type="submit" color="red.8" loading={abort.isPending}>
              Abort the run
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
