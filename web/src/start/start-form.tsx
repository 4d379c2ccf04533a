import { NativeSelect, SimpleGrid, Switch, Textarea, TextInput } from '@mantine/core'
import { useLocalStorage } from '@mantine/hooks'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'wouter'
import type { RunRequest } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf, problemsIn } from '../api/problem.ts'
import { useAttempt } from '../api/use-attempt.ts'
import { type FormOf, textField } from '../ui/field.ts'
import { FormDialog } from '../ui/form-dialog.tsx'
import { NumberField } from '../ui/number-field.tsx'
import { CommandFields } from './command-fields.tsx'
import { type Draft, EMPTY_DRAFT, requestOf } from './draft.ts'
import { GoalFields, GoalPicker } from './goal-fields.tsx'
import { BudgetLimits, LimitField } from './limit-fields.tsx'
import { ApprovalsField, McpField } from './list-fields.tsx'
import { ModelFields } from './model-fields.tsx'

/** What a person fills in, beginning with `initial`, or the folder and the model of the last run, and how it is sent. */
function useStart(onStarted: () => void, initial: Draft | undefined) {
  const [, navigate] = useLocation()
  const [last, setLast] = useLocalStorage({
    key: 'retrai.last-start',
    defaultValue: { cwd: '', model_name: '' },
    getInitialValueInEffect: false,
  })
  const [draft, setDraft] = useState<Draft>(initial ?? { ...EMPTY_DRAFT, ...last })
  const change = (changes: Partial<Draft>): void => setDraft({ ...draft, ...changes })
  const attempt = useAttempt<RunRequest>()
  const start = useMutation({
    mutationFn: () => {
      const request = requestOf(draft)
      const { body, idempotencyKey } = attempt(JSON.stringify(request), request)
      return answerOf(client().runs.create(body, { idempotencyKey }))
    },
    onSuccess: ({ run_id }) => {
      setLast({ cwd: draft.cwd, model_name: draft.model_name })
      onStarted()
      navigate(`/runs/${run_id}`)
    },
  })
  return { start, form: { value: draft, onChange: change, problem: problemsIn(start.error) } }
}

/** All settings of a run. For those that are left out, the server has defaults. */
export function StartForm({
  onClose,
  initial,
}: {
  readonly onClose: () => void
  readonly initial?: Draft
}) {
  const { start, form } = useStart(onClose, initial)
  return (
    <FormDialog
      title="Start a run"
      size="lg"
      onClose={onClose}
      sending={start}
      labels={{ send: 'Start the run' }}
    >
      <GoalPicker {...form} />
      <TextInput
        label="Project folder"
        description="A folder on the server's machine. If empty, the folder in which the server was started."
        placeholder="/home/you/project"
        {...textField('cwd', form)}
        spellCheck={false}
      />
      <NativeSelect
        label="Works in"
        data={[
          { value: '', label: 'The folder, alone: it waits for other runs there' },
          { value: 'copy', label: 'A copy of the folder' },
          { value: 'shared', label: 'The folder, also while other runs work there' },
        ]}
        value={form.value.workspace}
        onChange={({ currentTarget: { value } }) =>
          form.onChange({ workspace: value as Draft['workspace'] })
        }
        error={form.problem('workspace')}
      />
      <GoalFields {...form} />
      <Textarea
        label="Instructions"
        description="Optional. What the agent should do in addition to reaching the goal."
        autosize
        minRows={2}
        maxRows={12}
        {...textField('instructions', form)}
      />
      <ModelFields {...form} />
      <TurnLimits {...form} />
      <Switch
        label="Ask me after every iteration"
        description="The run waits until you approve the next one, or abort it."
        checked={form.value.hitl_enabled}
        onChange={(event) => form.onChange({ hitl_enabled: event.currentTarget.checked })}
      />
      <BudgetLimits {...form} />
      <ApprovalsField {...form} />
      <CommandFields {...form} />
      <McpField {...form} />
      <TextInput
        label="Reason"
        description="Optional. It is recorded in the log."
        {...textField('reason', form)}
      />
    </FormDialog>
  )
}

/** How long the agent may try. */
function TurnLimits(form: FormOf<Draft>) {
  return (
    <SimpleGrid cols={{ base: 1, xs: 2 }}>
      <LimitField name="max_iterations" form={form} placeholder="20" />
      <NumberField
        name="max_turns_per_iteration"
        form={form}
        isCount
        label="Turn limit"
        placeholder="50 an iteration"
      />
    </SimpleGrid>
  )
}
