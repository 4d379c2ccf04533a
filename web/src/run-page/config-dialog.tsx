import { Switch, TextInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { type ConfigChanges, LIMITS, type RunConfig, type Seen } from '../../../src/api/records.ts'
import { client } from '../api/client.ts'
import { answerOf, problemsIn } from '../api/problem.ts'
import { type LimitDraft, limitChanges, type ModelDraft } from '../start/draft.ts'
import { BudgetLimits, LimitField } from '../start/limit-fields.tsx'
import { ModelField, ModelSettings } from '../start/model-fields.tsx'
import { bound } from '../ui/field.ts'
import { FormDialog } from '../ui/form-dialog.tsx'

type Props = {
  readonly runId: string
  readonly seen: Seen | null
  readonly config: RunConfig
  readonly onClose: () => void
}

export function ConfigDialog({ runId, seen, config, onClose }: Props) {
  const [limits, setLimits] = useState(limitsOf(config))
  const [model, setModel] = useState<ModelDraft>(modelOf(config))
  const [asks, setAsks] = useState(config.hitl_enabled)
  const [reason, setReason] = useState('')
  const changes: ConfigChanges = {
    ...limitChanges(limitsOf(config), limits),
    ...modelChanges(modelOf(config), model),
    ...(asks === config.hitl_enabled ? {} : { hitl_enabled: asks }),
  }
  const change = useMutation({
    mutationFn: () =>
      answerOf(client().runs.configure(runId, { ...changes, reason: reason.trim() || null, seen })),
    onSuccess: onClose,
  })
  const problem = problemsIn(change.error)
  const onChange = (changed: Partial<LimitDraft>) => setLimits({ ...limits, ...changed })
  const form = { value: limits, onChange, problem }
  const modelForm = {
    value: model,
    onChange: (changed: Partial<ModelDraft>) => setModel({ ...model, ...changed }),
    problem,
  }
  return (
    <FormDialog
      title="Change the run"
      onClose={onClose}
      sending={change}
      labels={{ send: 'Change from the next step' }}
      disabled={Object.keys(changes).length === 0}
    >
      <LimitField name="max_iterations" form={form} data-autofocus />
      <BudgetLimits {...form} />
      <ModelField {...modelForm} />
      <ModelSettings {...modelForm} />
      <Switch
        label="Ask me after every iteration"
        checked={asks}
        onChange={(event) => setAsks(event.currentTarget.checked)}
      />
      <TextInput
        label="Reason"
        description="Optional. It is recorded in the log."
        {...bound(reason, setReason)}
      />
    </FormDialog>
  )
}

const limitsOf = (config: RunConfig) =>
  Object.fromEntries(LIMITS.map((limit) => [limit, config[limit] ?? ''])) as LimitDraft

const modelOf = (config: RunConfig): ModelDraft => ({
  model_name: config.model_name,
  reasoning_effort: config.reasoning_effort ?? null,
  max_output_tokens: config.max_output_tokens ?? '',
  fallback_models: config.fallback_models ?? [],
})

function modelChanges(before: ModelDraft, after: ModelDraft): ConfigChanges {
  const { model_name, reasoning_effort, max_output_tokens, fallback_models } = after
  const isSame = fallback_models.join('\n') === before.fallback_models.join('\n')
  return {
    ...(model_name === before.model_name ? {} : { model_name: model_name.trim() }),
    ...(reasoning_effort === before.reasoning_effort ? {} : { reasoning_effort }),
    ...(max_output_tokens === before.max_output_tokens
      ? {}
      : { max_output_tokens: max_output_tokens === '' ? null : Number(max_output_tokens) }),
    ...(isSame ? {} : { fallback_models }),
  }
}
