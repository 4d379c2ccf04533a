import { Input, Radio, Skeleton } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { messageOf } from '../api/problem.ts'
import { goalsQuery } from '../api/queries.ts'
import classes from './goal-picker.module.css'

type Props = {
  readonly value: string
  readonly onChange: (goal: string) => void
  readonly problem: string | undefined
}

export function GoalPicker({ value, onChange, problem }: Props) {
  const goals = useQuery(goalsQuery)
  return (
    <Radio.Group label="Goal" value={value} onChange={onChange} error={problem} withAsterisk>
      {goals.isError && <Input.Error>{messageOf(goals.error)}</Input.Error>}
      {goals.isPending && <Skeleton height={120} mt={6} />}
      <div className={classes.goals}>
        {(goals.data ?? []).map(({ name, description }, index) => (
          <Radio.Card
            key={name}
            value={name}
            className={classes.goal}
            // One stop for the tab key; the arrows go from goal to goal.
            tabIndex={name === value || (value === '' && index === 0) ? 0 : -1}
            data-autofocus={index === 0 || undefined}
          >
            <span className={classes.name}>{name}</span>
            <span className={classes.description}>{description}</span>
          </Radio.Card>
        ))}
      </div>
    </Radio.Group>
  )
}
