import { Textarea, TextInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'wouter'
import type { RunRequest } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf, problemsIn } from '../api/problem.ts'
import { useAttempt } from '../api/use-attempt.ts'
import { textField } from '../ui/field.ts'
import { FormDialog } from '../ui/form-dialog.tsx'
import { formatCount } from '../ui/format.ts'

type Props = { readonly runId: string; readonly at: number; readonly onClose: () => void }

/** Starts a run that begins from a record of this one. */
export function ForkDialog({ runId: run_id, at, onClose }: Props) {
  const [, navigate] = useLocation()
  const [value, setValue] = useState({ instructions: '', model_name: '' })
  const attempt = useAttempt<RunRequest>()
  const start = useMutation({
    mutationFn: () => {
      const filled = Object.entries(value).filter(([, text]) => text.trim() !== '')
      const request = { fork: { run_id, at }, ...Object.fromEntries(filled) }
      const { body, idempotencyKey } = attempt(JSON.stringify(request), request)
      return answerOf(client().runs.create(body, { idempotencyKey }))
    },
    onSuccess: (run) => {
      onClose()
      navigate(`/runs/${run.run_id}`)
    },
  })
  const onChange = (changes: Partial<typeof value>) => setValue({ ...value, ...changes })
  const form = { value, onChange, problem: problemsIn(start.error) }
  return (
    <FormDialog
      title={`Continue from record ${formatCount(at)}`}
      onClose={onClose}
      sending={start}
      labels={{ send: 'Continue from here' }}
    >
      <Textarea
        label="Message"
        description="Optional. What the agent should do from here, in a copy of the project with its files as they were."
        autosize
        minRows={3}
        maxRows={12}
        {...textField('instructions', form)}
        data-autofocus
      />
      <TextInput
        label="Model"
        placeholder="The model of this run"
        {...textField('model_name', form)}
        spellCheck={false}
      />
    </FormDialog>
  )
}
