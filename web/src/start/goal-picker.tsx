import { Input, Radio, Skeleton } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import type { Goal } from '../../../src/client/index.ts'
import { messageOf } from '../api/problem.ts'
import { fittingGoalsQuery, goalsQuery } from '../api/queries.ts'
import classes from './goal-picker.module.css'

/** The server is asked about a folder when nobody has typed for this long. */
const TYPING_MS = 300

type Props = {
  /** The folder of the project, as it is typed. */
  readonly cwd: string
  readonly value: string
  readonly onChange: (goal: string) => void
  readonly problem: string | undefined
}

/** Several goals are added below, unless the project names them. */
const isAlone = ({ name, because }: Goal): boolean => name !== 'all-of' || because !== undefined

export function GoalPicker({ cwd, value, onChange, problem }: Props) {
  const goals = useQuery(goalsQuery)
  const [folder] = useDebouncedValue(cwd.trim(), TYPING_MS)
  const fitting = (useQuery(fittingGoalsQuery(folder)).data ?? []).filter(isAlone)
  const fits = new Set(fitting.map(({ name }) => name))
  const others = (goals.data ?? []).filter((goal) => isAlone(goal) && !fits.has(goal.name))
  return (
    <Radio.Group
      label="Goal"
      description="If you choose none, the goal is the command in Check, or the goal in .retrai.yml of the project."
      value={value}
      onChange={onChange}
      error={problem}
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
            tabIndex={name === value || (value === '' && index === 0) ? 0 : -1}
            data-autofocus={index === 0 || undefined}
          >
            <span className={classes.name}>{name}</span>
            <span className={classes.description}>
              {because === undefined ? description : `${description}. It fits: ${because}`}
            </span>
          </Radio.Card>
        ))}
      </div>
    </Radio.Group>
  )
}
