import { Select } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import type { FieldProblemOf } from '../api/problem.ts'
import { goalsQuery } from '../api/queries.ts'
import { emptyPart, fieldOf, type PartDraft } from './goal-draft.ts'
import { GoalSettings } from './goal-settings.tsx'
import { RowsField } from './rows-field.tsx'

type Props = {
  /** At least one. The first is chosen among the cards. */
  readonly parts: readonly PartDraft[]
  readonly onChange: (parts: readonly PartDraft[]) => void
  readonly problem: FieldProblemOf
}

/** The settings of the chosen goal, and further goals that must hold at the same time. */
export function GoalFields({ parts, onChange, problem }: Props) {
  const goals = useQuery(goalsQuery).data ?? []
  const goalOf = ({ goal }: PartDraft) => goals.find(({ name }) => name === goal)
  const [first, ...others] = parts
  if (first === undefined) return null
  return (
    <>
      <GoalSettings
        part={first}
        goal={goalOf(first)}
        onChange={(changes) => onChange([{ ...first, ...changes }, ...others])}
        fieldOf={(inner) => fieldOf(parts, 0, inner)}
        problem={problem}
      />
      <RowsField
        items={others}
        onChange={(changed) => onChange([first, ...changed])}
        make={emptyPart}
        nameOf={(index) => `Goal ${index + 2}`}
        addLabel="Add a goal that must hold too"
        problem={problem('all_of', 'exact')}
      >
        {(part, change, index) => (
          <>
            <Select
              label="Goal of the run"
              placeholder="None: only the command of the check"
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
