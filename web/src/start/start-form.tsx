import {
  NativeSelect,
  SimpleGrid,
  Stack,
  Switch,
  TagsInput,
  Textarea,
  TextInput,
} from '@mantine/core'
import { useLocalStorage } from '@mantine/hooks'
import { useMutation } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { useLocation } from 'wouter'
import { LIMITS } from '../../../src/api/records.ts'
import type { RunRequest } from '../../../src/client/index.ts'
import { client } from '../api/client.ts'
import { answerOf, type FieldProblemOf, problemsIn } from '../api/problem.ts'
import { useAttempt } from '../api/use-attempt.ts'
import { type FormOf, textField } from '../ui/field.ts'
import { FormDialog } from '../ui/form-dialog.tsx'
import { NumberField } from '../ui/number-field.tsx'
import { CommandFields } from './command-fields.tsx'
import { type Draft, EMPTY_DRAFT, requestOf } from './draft.ts'
import { FurtherGoals, GoalFields, GoalPicker } from './goal-fields.tsx'
import { BudgetLimits, LimitField } from './limit-fields.tsx'
import { ApprovalsField, McpField } from './list-fields.tsx'
import { ModelField, ModelSettings } from './model-fields.tsx'
import classes from './start-form.module.css'

/** The fields of the request that a field of the form decides, if it has another name or decides others, too. */
const DECIDES: Readonly<Record<string, readonly string[]>> = {
  cwd: ['cwd', 'goal', 'check', 'all_of'],
  goal: ['goal', 'check', 'all_of'],
  check: ['goal', 'check', 'all_of'],
  exit_code: ['check', 'all_of'],
  output_contains: ['check', 'all_of'],
  check_seconds: ['check', 'all_of'],
}

/** What a person fills in, beginning with `initial`, or the folder and the model of the last run, and how it is sent. */
function useStart(onStarted: () => void, initial: Draft | undefined) {
  const [, navigate] = useLocation()
  const [last, setLast] = useLocalStorage({
    key: 'retrai.last-start',
    defaultValue: { cwd: '', model_name: '' },
    getInitialValueInEffect: false,
  })
  const [draft, setDraft] = useState<Draft>(initial ?? { ...EMPTY_DRAFT, ...last })
  const [corrected, setCorrected] = useState<readonly string[]>([])
  const change = (changes: Partial<Draft>): void => {
    setDraft((before) => ({ ...before, ...changes }))
    const fields = Object.keys(changes).flatMap((name) => DECIDES[name] ?? name)
    setCorrected((before) => [...before, ...fields])
  }
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
  const wrong = problemsIn(start.error)
  /** What was wrong with a field that was changed since may be right now. */
  const problem: FieldProblemOf = (field, exact) =>
    corrected.includes(field.split('.')[0] ?? '') ? undefined : wrong(field, exact)
  const sending = {
    error: corrected.length === 0 ? start.error : null,
    isPending: start.isPending,
    mutate: () => {
      setCorrected([])
      start.mutate()
    },
  }
  return { sending, form: { value: draft, onChange: change, problem } }
}

type Props = { readonly onClose: () => void; readonly initial?: Draft }

/** All settings of a run. For those that are left out, the server has defaults. */
export default function StartForm({ onClose, initial }: Props) {
  const { sending, form } = useStart(onClose, initial)
  return (
    <FormDialog
      title="Start a run"
      size="lg"
      onClose={onClose}
      sending={sending}
      labels={{ send: 'Start the run' }}
    >
      <TextInput
        label="Project folder"
        description="A folder on the server's machine. If empty, the folder in which the server was started."
        placeholder="/home/you/project"
        data-autofocus
        {...textField('cwd', form)}
        spellCheck={false}
      />
      <NativeSelect
        label="Works in"
        description="The agent edits the files there."
        data={[
          { value: '', label: 'The folder, alone: it waits for other runs there' },
          { value: 'copy', label: 'A copy of the folder, which you apply or discard afterwards' },
          { value: 'shared', label: 'The folder, also while other runs work there' },
        ]}
        value={form.value.workspace}
        onChange={({ currentTarget: { value } }) =>
          form.onChange({ workspace: value as Draft['workspace'] })
        }
        error={form.problem('workspace')}
      />
      <GoalPicker {...form} />
      <GoalFields {...form} />
      <Textarea
        label="Instructions"
        description="Optional. What the agent should do in addition to reaching the goal."
        autosize
        minRows={2}
        maxRows={12}
        {...textField('instructions', form)}
      />
      <ModelField {...form} />
      <Fold title="Limits and questions" names={LIMIT_NAMES} form={form}>
        <TurnLimits {...form} />
        <BudgetLimits {...form} />
        <Switch
          label="Ask me after every iteration"
          description="The run waits until you approve the next one, or abort it."
          checked={form.value.hitl_enabled}
          onChange={(event) => form.onChange({ hitl_enabled: event.currentTarget.checked })}
        />
      </Fold>
      <Fold title="More of the model" names={MODEL_NAMES} form={form}>
        <ModelSettings {...form} />
      </Fold>
      <Fold title="Further goals, rules and tools" names={RULE_NAMES} form={form}>
        <FurtherGoals {...form} />
        <ApprovalsField {...form} />
        <McpField {...form} />
      </Fold>
      <Fold title="Isolation of its commands" names={COMMAND_NAMES} form={form}>
        <CommandFields {...form} />
      </Fold>
      <Fold title="Tags and reason" names={['tags', 'reason']} form={form}>
        <TagsInput
          label="Tags"
          description="Words by which you find the run."
          value={[...form.value.tags]}
          onChange={(tags) => form.onChange({ tags })}
          maxLength={64}
          error={form.problem('tags')}
        />
        <TextInput
          label="Reason"
          description="Optional. It is recorded in the log."
          {...textField('reason', form)}
        />
      </Fold>
    </FormDialog>
  )
}

const LIMIT_NAMES = [...LIMITS, 'max_turns_per_iteration', 'hitl_enabled']
const MODEL_NAMES = ['reasoning_effort', 'max_output_tokens', 'fallback_models']
const RULE_NAMES = ['all_of', 'approvals', 'mcp_servers']
const COMMAND_NAMES = ['isolation', 'network']

type FoldProps = {
  readonly title: string
  /** The fields of the request that are in it. */
  readonly names: readonly string[]
  readonly form: FormOf<Draft>
  readonly children: ReactNode
}

/** Fields that few need. One with a problem is shown. */
function Fold({ title, names, form, children }: FoldProps) {
  const [isOpen, setOpen] = useState(false)
  const isWrong = names.some((name) => form.problem(name) !== undefined)
  return (
    <details
      className={classes.fold}
      open={isOpen || isWrong}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>{title}</summary>
      <Stack mt="sm">{children}</Stack>
    </details>
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
