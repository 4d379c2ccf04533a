import { Input, Radio, Select, SimpleGrid, Skeleton, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import type { Goal } from '../../../src/client/index.ts'
import { type FieldProblemOf, messageOf } from '../api/problem.ts'
import { fittingGoalsQuery, goalsQuery } from '../api/queries.ts'
import { type FormOf, textField } from '../ui/field.ts'
import { NumberField } from '../ui/number-field.tsx'
import type { Draft } from './draft.ts'
import { emptyPart, fieldOf, type PartDraft, schemaOf } from './goal-draft.ts'
import { RowsField } from './rows-field.tsx'
import classes from './start-form.module.css'
import { ValueField } from './value-field.tsx'

/** The server is asked about a folder when nobody has typed for this long. */
const TYPING_MS = 300

/** Several goals are added below, unless the project names them. */
const isAlone = ({ name, because }: Goal): boolean => name !== 'all-of' || because !== undefined

/** Whether a project would show that it fits: others take settings, or only instructions. */
const showsInProjects = ({ name, check, options = [] }: Goal): boolean =>
  name !== 'instructions' && check !== 'required' && !options.some(({ required }) => required)

/** The goals to choose from. The first goal of the run is chosen among these cards. */
export function GoalPicker({ value: draft, onChange, problem }: FormOf<Draft>) {
  const { parts, cwd } = draft
  const chosen = parts[0]?.goal ?? ''
  const goals = useQuery(goalsQuery)
  const [folder] = useDebouncedValue(cwd.trim(), TYPING_MS)
  const fitting = (useQuery(fittingGoalsQuery(folder)).data ?? []).filter(isAlone)
  const fits = new Set(fitting.map(({ name }) => name))
  const others = (goals.data ?? []).filter((goal) => isAlone(goal) && !fits.has(goal.name))
  const picked = others.find(({ name }) => name === chosen)
  const isMisfit =
    fitting.length > 0 && !parts[0]?.check && picked !== undefined && showsInProjects(picked)
  return (
    <Radio.Group
      label="Goal"
      description="If you choose none, the goal is the command in Check, or the goal in .retrai.yml of the project."
      value={chosen}
      onChange={(goal) => {
        const [first = emptyPart(), ...others] = parts
        // Options of another goal would be refused.
        onChange({ parts: [{ ...first, goal, options: {} }, ...others] })
      }}
      error={problem(fieldOf(parts, 0, 'goal'))}
    >
      {goals.isError && <Input.Error>{messageOf(goals.error)}</Input.Error>}
      {goals.isPending && <Skeleton height={120} mt={6} />}
      <div className={classes.goals}>
        {[...fitting, ...others].map(({ name, description, because }, index) => (
          <Radio.Card
            key={name}
            value={name}
            className={classes.goal}
            // One stop for the tab key; the arrows go from goal to goal.
            tabIndex={name === chosen || (chosen === '' && index === 0) ? 0 : -1}
            data-autofocus={index === 0 || undefined}
          >
            <span className={classes.name}>{name}</span>
            <span className={classes.description}>
              {because === undefined ? description : `${description}. It fits: ${because}`}
            </span>
          </Radio.Card>
        ))}
      </div>
      {isMisfit && (
        <p className={classes.warning} role="status">
          {chosen} does not seem to fit this project. {fitting[0]?.name} does.
        </p>
      )}
    </Radio.Group>
  )
}

/** The settings of the chosen goal, and further goals that must hold at the same time. */
export function GoalFields({ value: { parts }, onChange, problem }: FormOf<Draft>) {
  const goals = useQuery(goalsQuery).data ?? []
  const set = (next: readonly PartDraft[]): void => onChange({ parts: next })
  const goalOf = ({ goal }: PartDraft) => goals.find(({ name }) => name === goal)
  const [first, ...others] = parts
  if (first === undefined) return null
  return (
    <>
      <GoalSettings
        part={first}
        goal={goalOf(first)}
        onChange={(changes) => set([{ ...first, ...changes }, ...others])}
        fieldOf={(inner) => fieldOf(parts, 0, inner)}
        problem={problem}
      />
      <RowsField
        items={others}
        onChange={(changed) => set([first, ...changed])}
        make={emptyPart}
        nameOf={(index) => `Goal ${index + 2}`}
        addLabel="Add a goal that must hold too"
        problem={problem('all_of', 'exact')}
      >
        {(part, change, index) => (
          <>
            <Select
              label="Goal of the run"
              placeholder="None: only the command in Check"
              data={goals.map(({ name }) => name).filter((name) => name !== 'all-of')}
              value={part.goal === '' ? null : part.goal}
              onChange={(goal) => change({ goal: goal ?? '', options: {} })}
              error={problem(fieldOf(parts, index + 1, 'goal'))}
              clearable
              searchable
            />
            <GoalSettings
              part={part}
              goal={goalOf(part)}
              onChange={change}
              fieldOf={(inner) => fieldOf(parts, index + 1, inner)}
              problem={problem}
            />
          </>
        )}
      </RowsField>
    </>
  )
}

type SettingsProps = {
  readonly part: PartDraft
  /** The goal that is chosen; undefined for none. */
  readonly goal: Goal | undefined
  readonly onChange: (changes: Partial<PartDraft>) => void
  /** The field of the request that has this of the goal. */
  readonly fieldOf: (inner: string) => string
  readonly problem: FieldProblemOf
}

const CHECK_HINTS = {
  none: 'The chosen goal takes no command: remove the command.',
  optional: 'Optional. A command that must succeed, instead of the command of the goal.',
  required: 'The command of the goal.',
} as const

/** What a goal takes in addition to its name: a command with conditions, and its options as the server describes them. */
function GoalSettings({ part, goal, onChange, fieldOf, problem }: SettingsProps) {
  const hint =
    goal === undefined
      ? 'A command that must succeed. If you choose no goal, this is the goal.'
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
        <Conditions
          value={part}
          onChange={onChange}
          problem={(name) => problem(`${check}.conditions.${name}`)}
        />
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

/** When a command has succeeded. */
function Conditions(form: FormOf<PartDraft>) {
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
        name="max_seconds"
        form={form}
        label="Faster than"
        placeholder="No limit"
        suffix=" s"
        min={0}
      />
    </SimpleGrid>
  )
}
