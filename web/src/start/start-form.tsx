import {
  Alert,
  Button,
  Group,
  NumberInput,
  SimpleGrid,
  Stack,
  Switch,
  Textarea,
  TextInput,
} from '@mantine/core'
import { useLocalStorage } from '@mantine/hooks'
import { useMutation } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { useState } from 'react'
import { useLocation } from 'wouter'
import { client } from '../api/client.ts'
import { answerOf, fieldProblem, messageOf } from '../api/problem.ts'
import { CommandFields } from './command-fields.tsx'
import { type Draft, EMPTY_DRAFT, requestOf } from './draft.ts'
import { GoalPicker } from './goal-picker.tsx'
import { McpField } from './mcp-field.tsx'
import { ModelFields } from './model-fields.tsx'
import classes from './start-form.module.css'

/** All settings of a run. For those that are left out, the server has defaults. */
export function StartForm({ onDone }: { readonly onDone: () => void }) {
  const [, navigate] = useLocation()
  const [last, setLast] = useLocalStorage({
    key: 'retrai.last-start',
    defaultValue: { cwd: '', model_name: '' },
    getInitialValueInEffect: false,
  })
  const [draft, setDraft] = useState<Draft>({ ...EMPTY_DRAFT, ...last })
  const change = (changes: Partial<Draft>): void => setDraft({ ...draft, ...changes })
  const start = useMutation({
    mutationFn: () => answerOf(client().runs.create(requestOf(draft))),
    onSuccess: ({ run_id }) => {
      setLast({ cwd: draft.cwd, model_name: draft.model_name })
      onDone()
      navigate(`/runs/${run_id}`)
    },
  })
  const problem = (field: string): string | undefined => fieldProblem(start.error, field)
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    start.mutate()
  }

  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <GoalPicker
          cwd={draft.cwd}
          value={draft.goal}
          onChange={(goal) => change({ goal })}
          problem={problem('goal')}
        />
        <TextInput
          label="Project folder"
          description="A folder on the server's machine. If empty, the folder in which the server was started."
          placeholder="/home/you/project"
          value={draft.cwd}
          onChange={(event) => change({ cwd: event.currentTarget.value })}
          error={problem('cwd')}
          spellCheck={false}
        />
        <TextInput
          label="Check"
          description="Optional. A command that must succeed: it replaces that of the goal, or is the goal if you choose none."
          placeholder="make lint"
          value={draft.check}
          onChange={(event) => change({ check: event.currentTarget.value })}
          error={problem('check') ?? problem('check.command')}
          spellCheck={false}
        />
        <Textarea
          label="Instructions"
          description="Optional. What the agent shall do, beside reaching the goal."
          autosize
          minRows={2}
          maxRows={12}
          value={draft.instructions}
          onChange={(event) => change({ instructions: event.currentTarget.value })}
          error={problem('instructions')}
        />
        <ModelFields value={draft} onChange={change} problem={problem} />
        <SimpleGrid cols={{ base: 1, xs: 2 }}>
          <NumberInput
            label="Iteration limit"
            placeholder="20"
            min={1}
            allowDecimal={false}
            value={draft.max_iterations}
            onChange={(max_iterations) => change({ max_iterations })}
            error={problem('max_iterations')}
          />
          <NumberInput
            label="Turn limit"
            placeholder="50 an iteration"
            min={1}
            allowDecimal={false}
            value={draft.max_turns_per_iteration}
            onChange={(max_turns_per_iteration) => change({ max_turns_per_iteration })}
            error={problem('max_turns_per_iteration')}
          />
        </SimpleGrid>
        <Switch
          label="Ask me after every iteration"
          description="The run waits until you approve the next one, or abort it."
          checked={draft.hitl_enabled}
          onChange={(event) => change({ hitl_enabled: event.currentTarget.checked })}
        />
        <SimpleGrid cols={{ base: 1, xs: 3 }}>
          <NumberInput
            label="Cost limit"
            placeholder="None"
            prefix="$"
            min={0}
            decimalScale={4}
            value={draft.max_cost_usd}
            onChange={(max_cost_usd) => change({ max_cost_usd })}
            error={problem('max_cost_usd')}
          />
          <NumberInput
            label="Token limit"
            placeholder="None"
            min={1}
            allowDecimal={false}
            thousandSeparator=","
            value={draft.max_tokens}
            onChange={(max_tokens) => change({ max_tokens })}
            error={problem('max_tokens')}
          />
          <NumberInput
            label="Working time limit"
            placeholder="None"
            suffix=" s"
            min={1}
            value={draft.max_seconds}
            onChange={(max_seconds) => change({ max_seconds })}
            error={problem('max_seconds')}
          />
        </SimpleGrid>
        <CommandFields value={draft} onChange={change} problem={problem} />
        <McpField
          value={draft.mcp_servers}
          onChange={(mcp_servers) => change({ mcp_servers })}
          problem={problem('mcp_servers')}
        />
        <TextInput
          label="Reason"
          description="Optional. It is recorded in the log."
          value={draft.reason}
          onChange={(event) => change({ reason: event.currentTarget.value })}
          error={problem('reason')}
        />
        {start.error !== null && (
          <Alert color="red" variant="light" role="alert">
            {messageOf(start.error)}
          </Alert>
        )}
        <Group justify="flex-end" className={classes.foot}>
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button
            type="submit"
            loading={start.isPending}
            disabled={draft.goal === '' && draft.check.trim() === ''}
          >
            Start the run
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
