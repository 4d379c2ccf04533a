import { Alert, Button, Group, Text, Title } from '@mantine/core'
import { queryOptions, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { TestedWebhook, WebhookView } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf, messageOf } from '../api/problem.ts'
import { visible } from '../ui/foreign-text.ts'
import { FormDialog } from '../ui/form-dialog.tsx'
import { asSentence, counted, formatTime } from '../ui/format.ts'
import { useTitle } from '../ui/use-title.ts'
import { NewWebhook } from './new-webhook.tsx'
import classes from './webhooks-page.module.css'

const webhooksQuery = queryOptions({
  queryKey: ['webhooks'],
  queryFn: ({ signal }) => answerOf(client().webhooks.list({ signal })),
  refetchInterval: 3_000,
})

/** To whom the server sends word of runs, how far each is, and why. */
export default function WebhooksPage() {
  const { data: all, error } = useQuery(webhooksQuery)
  const [adding, setAdding] = useState(false)
  useTitle('Webhooks')
  return (
    <div className={classes.page}>
      <div className={classes.head}>
        <Title order={1} size="h2">
          Webhooks
        </Title>
        <Button onClick={() => setAdding(true)}>Add a webhook</Button>
      </div>
      {error !== null && (
        <Alert color="red" variant="light" role="alert" mb="md">
          {messageOf(error)}
        </Alert>
      )}
      {all?.length === 0 && (
        <Text c="dimmed">
          A webhook sends word to an address of yours when a run needs a person or ends: which run
          and which record, never what is in it.
        </Text>
      )}
      {all?.map((webhook) => (
        <Hook key={webhook.id} webhook={webhook} />
      ))}
      {adding && <NewWebhook onClose={() => setAdding(false)} />}
    </div>
  )
}

const STATES = { active: 'Active', retrying: 'Retrying', stopped: 'Stopped' } as const

function Hook({ webhook }: { readonly webhook: WebhookView }) {
  const { id, url, state, kinds, run, delivered, pending, last_error, next_try } = webhook
  const queries = useQueryClient()
  const [deleting, setDeleting] = useState(false)
  const refresh = () => queries.invalidateQueries({ queryKey: webhooksQuery.queryKey })
  const test = useMutation({ mutationFn: () => answerOf(client().webhooks.test(id)) })
  const resume = useMutation({
    mutationFn: () => answerOf(client().webhooks.resume(id)),
    onSuccess: refresh,
  })
  const problem = test.error ?? resume.error
  const only = Object.entries(run).map(([name, value]) => `${name} ${visible(String(value))}`)
  return (
    <section className={classes.hook} aria-label={visible(url)}>
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <span className={classes.url}>{visible(url)}</span>
        <strong className={classes.state}>{STATES[state]}</strong>
      </Group>
      <p className={classes.facts}>
        {delivered} delivered, {pending} pending. {kinds.join(', ')}
        {only.length > 0 && `; only ${only.join(', ')}`}
      </p>
      {last_error !== null && (
        <p className={classes.why}>
          {asSentence(last_error)}
          {next_try !== null && ` Next try: ${formatTime(Date.parse(next_try))}.`}
        </p>
      )}
      <div role="status">
        {test.data !== undefined && <p className={classes.why}>{wordsOf(test.data)}</p>}
      </div>
      {problem !== null && (
        <p className={classes.why} role="alert">
          {messageOf(problem)}
        </p>
      )}
      <Group gap="xs">
        <Button size="xs" variant="default" loading={test.isPending} onClick={() => test.mutate()}>
          Send a test
        </Button>
        {state !== 'active' && (
          <Button size="xs" loading={resume.isPending} onClick={() => resume.mutate()}>
            {state === 'stopped' ? 'Resume' : 'Try now'}
          </Button>
        )}
        <Button size="xs" variant="subtle" color="red" onClick={() => setDeleting(true)}>
          Delete
        </Button>
      </Group>
      {deleting && <Deletion webhook={webhook} onClose={() => setDeleting(false)} />}
    </section>
  )
}

const wordsOf = ({ error, status, duration_ms }: TestedWebhook): string =>
  error === null
    ? `The test was received. It answered ${status} after ${duration_ms} ms.`
    : `The test was not received. ${asSentence(error)}`

type DeletionProps = { readonly webhook: WebhookView; readonly onClose: () => void }

function Deletion({ webhook: { id, pending }, onClose }: DeletionProps) {
  const queries = useQueryClient()
  const sending = useMutation({
    mutationFn: () => answerOf(client().webhooks.delete(id)),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: webhooksQuery.queryKey })
      onClose()
    },
  })
  return (
    <FormDialog
      title="Delete this webhook?"
      onClose={onClose}
      sending={sending}
      labels={{ send: 'Delete', leave: 'Keep it' }}
      isGrave
    >
      <Text size="sm">
        Its secret is deleted, too.{' '}
        {pending > 0 && `${counted(pending, 'record')} will not be sent.`}
      </Text>
    </FormDialog>
  )
}
