import { Button, Group, Modal, MultiSelect, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { ALL_KINDS, type Kind } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import { CopyButton } from '../ui/copy-button.tsx'
import { bound } from '../ui/field.ts'
import { FormDialog } from '../ui/form-dialog.tsx'
import classes from './webhooks-page.module.css'

/** The form for a webhook, and then its secret. */
export function NewWebhook({ onClose }: { readonly onClose: () => void }) {
  const queries = useQueryClient()
  const [url, setUrl] = useState('')
  const [kinds, setKinds] = useState<string[]>([])
  const [project, setProject] = useState('')
  const sending = useMutation({
    mutationFn: () =>
      answerOf(
        client().webhooks.create({
          url: url.trim(),
          ...(kinds.length === 0 ? {} : { kinds: kinds as Kind[] }),
          ...(project === '' ? {} : { run: { project } }),
        }),
      ),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['webhooks'] }),
  })
  if (sending.data !== undefined) return <Secret secret={sending.data.secret} onClose={onClose} />
  return (
    <FormDialog
      title="Add a webhook"
      onClose={onClose}
      sending={sending}
      labels={{ send: 'Add' }}
      disabled={url.trim() === ''}
    >
      <TextInput
        label="Address"
        placeholder="https://"
        type="url"
        {...bound(url, setUrl)}
        data-autofocus
      />
      <MultiSelect
        label="Kinds of records"
        placeholder={kinds.length === 0 ? 'Those that need a person or end a run' : ''}
        data={ALL_KINDS}
        value={kinds}
        onChange={setKinds}
        searchable
      />
      <TextInput
        label="Only runs in a folder with this name"
        placeholder="All runs"
        {...bound(project, setProject)}
      />
    </FormDialog>
  )
}

function Secret({ secret, onClose }: { readonly secret: string; readonly onClose: () => void }) {
  return (
    <Modal opened onClose={onClose} title="The webhook is active">
      <Stack>
        <Text size="sm">
          Its receiver needs this secret to verify deliveries (Standard Webhooks). It is shown only
          now.
        </Text>
        <code className={classes.secret}>{secret}</code>
        <Group justify="flex-end">
          <CopyButton value={secret}>
            {({ copied, copy }) => (
              <Button variant="default" onClick={copy}>
                {copied ? 'Copied' : 'Copy'}
              </Button>
            )}
          </CopyButton>
          <Button onClick={onClose}>I have it</Button>
        </Group>
      </Stack>
    </Modal>
  )
}
