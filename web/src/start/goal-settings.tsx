import { NumberInput, SimpleGrid, TextInput } from '@mantine/core'
import type { Goal } from '../../../src/client/index.ts'
import type { FieldProblemOf } from '../api/problem.ts'
import { type PartDraft, schemaOf } from './goal-draft.ts'
import { ValueField } from './value-field.tsx'

type Props = {
  readonly part: PartDraft
  /** The goal that is chosen; undefined for none. */
  readonly goal: Goal | undefined
  readonly onChange: (changes: Partial<PartDraft>) => void
  /** The field of the request that has this of the goal. */
  readonly fieldOf: (inner: string) => string
  readonly problem: FieldProblemOf
}

const CHECK_HINTS = {
  none: 'The goal that you have chosen takes none: remove it.',
  optional: 'Optional. A command that must succeed, in place of that of the goal.',
  required: 'The command of the goal.',
} as const

/** What a goal takes beside its name: a command with conditions, and its options as the server describes them. */
export function GoalSettings({ part, goal, onChange, fieldOf, problem }: Props) {
  const hint =
    goal === undefined
      ? 'A command that must succeed. It is the goal if you choose none.'
      : CHECK_HINTS[goal.check ?? 'optional']
  const check = fieldOf('check')
  return (
    <>
      {(goal?.check !== 'none' || part.check !== '') && (
        <TextInput
          label="Check"
          description={hint}
          placeholder="make lint"
          withAsterisk={goal?.check === 'required'}
          value={part.check}
          onChange={(event) => onChange({ check: event.currentTarget.value })}
          error={problem(check, 'exact') ?? problem(`${check}.command`)}
          spellCheck={false}
        />
      )}
      {part.check.trim() !== '' && (
        <SimpleGrid cols={{ base: 1, xs: 3 }}>
          <NumberInput
            label="Exit code"
            placeholder="0"
            allowDecimal={false}
            value={part.exit_code}
            onChange={(exit_code) => onChange({ exit_code })}
            error={problem(`${check}.conditions.exit_code`)}
          />
          <TextInput
            label="Output contains"
            placeholder="Anything"
            value={part.output_contains}
            onChange={(event) => onChange({ output_contains: event.currentTarget.value })}
            error={problem(`${check}.conditions.output_contains`)}
            spellCheck={false}
          />
          <NumberInput
            label="Faster than"
            placeholder="No limit"
            suffix=" s"
            min={0}
            value={part.max_seconds}
            onChange={(max_seconds) => onChange({ max_seconds })}
            error={problem(`${check}.conditions.max_seconds`)}
          />
        </SimpleGrid>
      )}
      {(goal?.options ?? []).map(({ name, required, schema }) => (
        <ValueField
          key={name}
          name={name}
          schema={schemaOf(schema)}
          required={required}
          value={part.options[name] ?? ''}
          onChange={(value) => onChange({ options: { ...part.options, [name]: value } })}
          field={fieldOf(`goal_options.${name}`)}
          problem={problem}
        />
      ))}
    </>
  )
}
