import { Kbd, Select, TextInput } from '@mantine/core'
import { IconSearch } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { useRef } from 'react'
import { RUN_STATUSES } from '../../../src/api/records.ts'
import { goalsQuery } from '../api/queries.ts'
import { STATUS_NAMES } from '../ui/status.ts'
import { useShortcuts } from '../ui/use-shortcuts.ts'
import classes from './filter-bar.module.css'
import type { Filter } from './use-filter.ts'

type Props = {
  readonly filter: Filter
  readonly onChange: (changes: Partial<Filter>) => void
}

export function FilterBar({ filter, onChange }: Props) {
  const search = useRef<HTMLInputElement>(null)
  const goals = useQuery(goalsQuery)
  useShortcuts([['/', () => search.current?.focus()]])
  const names = (goals.data ?? []).map(({ name }) => name)
  return (
    <div className={classes.bar}>
      <fieldset className={classes.statuses}>
        <legend className={classes.legend}>Status</legend>
        {([null, ...RUN_STATUSES] as const).map((status) => (
          <button
            key={status ?? 'all'}
            type="button"
            className={classes.status}
            data-status={status ?? 'all'}
            aria-pressed={filter.status === status}
            onClick={() => onChange({ status })}
          >
            {status === null ? 'All' : STATUS_NAMES[status]}
          </button>
        ))}
      </fieldset>
      <div className={classes.right}>
        <Select
          aria-label="Goal"
          placeholder="Any goal"
          data={
            filter.goal === null || names.includes(filter.goal) ? names : [...names, filter.goal]
          }
          value={filter.goal}
          onChange={(goal) => onChange({ goal })}
          clearable
          w={150}
        />
        <TextInput
          ref={search}
          type="search"
          aria-label="Search by run id or goal"
          placeholder="Id or goal"
          leftSection={<IconSearch size={16} aria-hidden />}
          rightSection={
            <Kbd size="xs" className={classes.key}>
              /
            </Kbd>
          }
          value={filter.search}
          onChange={(event) => onChange({ search: event.currentTarget.value })}
          className={classes.search}
        />
      </div>
    </div>
  )
}
