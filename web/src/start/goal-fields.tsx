import { Button, Input, Radio, SimpleGrid, Skeleton, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import type { Goal } from '../../../src/client/index.ts'
import { messageOf } from '../api/problem.ts'
import { fittingGoalsQuery, goalsQuery } from '../api/queries.ts'
import { type FormOf, textField } from '../ui/field.ts'
import { NumberField } from '../ui/number-field.tsx'
import { type Draft, type GoalDraft, goalField } from './draft.ts'
import { JsonField } from './json-field.tsx'
import classes from './start-form.module.css'

/** The server is asked about a folder when nobody has typed for this long. */
const TYPING_MS = 300

/** Several goals are added below, unless the project names them. */
const isAlone = ({ name, because }: Goal): boolean => name !== 'all-of' || because !== undefined

/** Whether a project would show that it fits: others take a command, or only instructions. */
const showsInProjects = ({ name, check }: Goal): boolean =>
  name !== 'instructions' && check !== 'required'

/** The goals to choose from. The first goal of the run is chosen among these cards. */
export function GoalPicker({ value: draft, onChange, problem }: FormOf<Draft>) {
  const { cwd, goal: chosen } = draft
  const [isAllShown, showAll] = useState(false)
  const goals = useQuery(goalsQuery)
  const [folder] = useDebouncedValue(cwd.trim(), TYPING_MS)
  const fitting = (useQuery(fittingGoalsQuery(folder)).data ?? []).filter(isAlone)
  useFittingGoal(fitting[0]?.name ?? '', draft, onChange)
  const fits = new Set(fitting.map(({ name }) => name))
  const others = (goals.data ?? []).filter((goal) => isAlone(goal) && !fits.has(goal.name))
  const picked = others.find(({ name }) => name === chosen)
  const shown = [
    ...fitting,
    ...(isAllShown || fitting.length === 0 ? others : others.filter(({ name }) => name === chosen)),
  ]
  const isMisfit =
    fitting.length > 0 && !draft.check && picked !== undefined && showsInProjects(picked)
  return (
    <Radio.Group
      label="Goal"
      description={
        fitting.length > 0
          ? 'These fit the folder.'
          : 'If you choose none, the goal is the command in Check, or the goal in .retrai.yml of the project.'
      }
      value={chosen}
      onChange={(goal) => onChange({ goal, fitted: '' })}
      error={problem(goalField(draft, 'goal'))}
    >
      {goals.isError && <Input.Error>{messageOf(goals.error)}</Input.Error>}
      {goals.isPending && <Skeleton height={120} mt={6} />}
      <div className={classes.goals}>
        {shown.map(({ name, description, because }, index) => (
          <Radio.Card
            key={name}
            value={name}
            className={classes.goal}
            // One stop for the tab key; the arrows go from goal to goal.
            tabIndex={name === chosen || (chosen === '' && index === 0) ? 0 : -1}
          >
            <span className={classes.name}>{name}</span>
            <span className={classes.description}>
              {because === undefined ? description : `${description}. It fits: ${because}`}
            </span>
          </Radio.Card>
        ))}
      </div>
      {shown.length < fitting.length + others.length && (
        <Button variant="subtle" size="compact-sm" mt={6} onClick={() => showAll(true)}>
          Show other goals
        </Button>
      )}
      {isMisfit && (
        <p className={classes.warning} role="status">
          {chosen} does not seem to fit this project. {fitting[0]?.name} does.
        </p>
      )}
    </Radio.Group>
  )
}

/** Chooses the goal that fits the folder best, until a person chooses one or names a command. */
function useFittingGoal(
  best: string,
  { goal, fitted, check, all_of }: Draft,
  onChange: (changes: Partial<Draft>) => void,
): void {
  const isOpen = goal === fitted && check === '' && all_of === ''
  // biome-ignore lint/correctness/useExhaustiveDependencies: onChange is another function each time
  useEffect(() => {
    if (isOpen && best !== goal) onChange({ goal: best, fitted: best })
  }, [best, isOpen, goal])
}

const CHECK_HINTS = {
  none: 'The chosen goal takes no command: remove the command.',
  optional: 'Optional. A command that must succeed, instead of the command of the goal.',
  required: 'The command of the goal.',
} as const

/** What the chosen goal takes in addition to its name, and further goals that must hold at the same time. */
export function GoalFields(form: FormOf<Draft>) {
  const { value: draft, onChange, problem } = form
  const goals = useQuery(goalsQuery).data ?? []
  const goal = goals.find(({ name }) => name === draft.goal)
  const hint =
    goal === undefined
      ? 'A command that must succeed. If you choose no goal, this is the goal.'
      : CHECK_HINTS[goal.check ?? 'optional']
  const check = goalField(draft, 'check')
  return (
    <>
      {(goal?.check !== 'none' || draft.check !== '') && (
        <TextInput
          label="Check"
          description={hint}
          placeholder="make lint"
          withAsterisk={goal?.check === 'required'}
          value={draft.check}
          onChange={(event) => {
            const isFitted = draft.goal === draft.fitted
            // Nobody has chosen the goal, so the command is the goal.
            onChange({
              check: event.currentTarget.value,
              ...(isFitted && { goal: '', fitted: '' }),
            })
          }}
          error={problem(check, 'exact') ?? problem(`${check}.command`)}
          spellCheck={false}
        />
      )}
      {draft.check.trim() !== '' && (
        <Conditions
          value={draft}
          onChange={onChange}
          problem={(name) =>
            problem(`${check}.conditions.${name === 'check_seconds' ? 'max_seconds' : name}`)
          }
        />
      )}
    </>
  )
}

export const FurtherGoals = (form: FormOf<Draft>) => (
  <JsonField
    name="all_of"
    form={form}
    label="Further goals"
    description="Optional, as JSON. They must hold at the same time."
    example='["npm-test", {"check": {"command": "make docs"}}]'
  />
)

/** When a command has succeeded. */
function Conditions(form: FormOf<GoalDraft>) {
  return (
    <SimpleGrid cols={{ base: 1, xs: 3 }}>
      <NumberField
        name="exit_code"
        form={form}
        label="Exit code"
        placeholder="0"
        allowDecimal={false}
      />
      <TextInput
        label="Output contains"
        placeholder="Anything"
        {...textField('output_contains', form)}
        spellCheck={false}
      />
      <NumberField
        name="check_seconds"
        form={form}
        label="Faster than"
        placeholder="No limit"
        suffix=" s"
        min={0}
      />
    </SimpleGrid>
  )
}
