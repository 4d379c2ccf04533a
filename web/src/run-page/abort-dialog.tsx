import { Alert, Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import type { Seen } from '../../../src/domain/records.ts'
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
            Whatever it is doing is stopped, and it cannot be taken up again. What it changed in the
            project stays as it is.
          </Text>
          <TextInput
            label="Reason"
            description="Kept in the log. May be left empty."
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
