import { Alert, Button, Group, Modal, Stack, Textarea } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import type { Seen } from '../../../src/api/records.ts'
import { client } from '../api/client.ts'
import { answerOf, messageOf, problemsIn } from '../api/problem.ts'

type Props = {
  readonly runId: string
  readonly seen: Seen | null
  readonly onClose: () => void
}

/** What a person says to the agent of a run. */
export function MessageDialog({ runId, seen, onClose }: Props) {
  const [text, setText] = useState('')
  const [idempotencyKey] = useState(() => crypto.randomUUID())
  const send = useMutation({
    mutationFn: () => answerOf(client().runs.send(runId, { text, seen }, { idempotencyKey })),
    onSuccess: onClose,
  })
  return (
    <Modal opened onClose={onClose} title="Send a message to the agent">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          send.mutate()
        }}
      >
        <Stack>
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
          {send.isError && (
            <Alert color="red" variant="light" role="alert">
              {messageOf(send.error)}
            </Alert>
          )}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={send.isPending} disabled={text.trim() === ''}>
              Send
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
