import {
  Alert,
  Button,
  Center,
  Kbd,
  Loader,
  Select,
  Stack,
  Text,
  TextInput,
  Title,
} from '@mantine/core'
import { IconSearch } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { type ReactNode, useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { RUN_STATUSES } from '../../../src/api/records.ts'
import { diskQuery, goalsQuery, integrityQuery, isolationQuery } from '../api/queries.ts'
import { counted } from '../ui/format.ts'
import { STATUS_NAMES } from '../ui/status.ts'
import { useShortcuts } from '../ui/use-shortcuts.ts'
import { useTitle } from '../ui/use-title.ts'
import { matches } from './run-list.ts'
import { RunListStore } from './run-list-store.ts'
import { RunTable } from './run-table.tsx'
import classes from './runs-page.module.css'
import { type Filter, useFilter } from './use-filter.ts'

export function RunsPage() {
  const [filter, change] = useFilter()
  const { status, goal, search } = filter
  const store = useMemo(() => new RunListStore({ status, goal }), [status, goal])
  const { list, loadingOlder, problem } = useSyncExternalStore(store.subscribe, store.getSnapshot)
  const { data: doubt } = useQuery(integrityQuery)
  const { data: isolation } = useQuery(isolationQuery)
  const { data: noDisk } = useQuery(diskQuery)
  const searching = search.trim() !== ''
  const shown = useMemo(
    () => (list?.runs ?? []).filter((run) => !searching || matches(run, search)),
    [list, search, searching],
  )
  useTitle('')
  // The server has no search, so the whole list is read during a search.
  useEffect(() => {
    if (searching && list?.next != null && !loadingOlder && problem === null) void store.loadOlder()
  }, [searching, list, loadingOlder, problem, store])

  return (
    <div className={classes.page}>
      <div className={classes.head}>
        <Title order={1} className={classes.title}>
          Runs
        </Title>
        <FilterBar filter={filter} onChange={change} />
      </div>
      {typeof doubt === 'string' && (
        <Notice color="red" role="alert">
          The server's own verification has failed. {doubt}
        </Notice>
      )}
      {isolation?.ok === false && <Notice color="orange">{isolation.detail}</Notice>}
      {typeof noDisk === 'string' && <Notice color="orange">{noDisk}</Notice>}
      {problem !== null && (
        <Notice color="red">
          {problem} {list !== null && 'This list may be out of date. '}Trying again.
        </Notice>
      )}
      {list === null ? (
        problem === null && (
          <Center flex={1}>
            <Loader color="gray" aria-label="Reading the list of runs" />
          </Center>
        )
      ) : shown.length === 0 && !loadingOlder ? (
        <Empty filter={filter} onClear={() => change({ status: null, goal: null, search: '' })} />
      ) : (
        <RunTable runs={shown} onEnd={store.loadOlder} />
      )}
      <p className={classes.foot} role="status">
        {list !== null &&
          footText(list.runs.length, list.next !== null, searching ? shown.length : null)}
      </p>
    </div>
  )
}

type FilterProps = {
  readonly filter: Filter
  readonly onChange: (changes: Partial<Filter>) => void
}

function FilterBar({ filter, onChange }: FilterProps) {
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

type NoticeProps = {
  readonly color: 'red' | 'orange'
  readonly role?: 'alert' | 'status'
  readonly children: ReactNode
}

/** What a person should know of the server or the list. */
function Notice({ color, role = 'status', children }: NoticeProps) {
  return (
    <Alert color={color} variant="light" className={classes.problem} role={role}>
      {children}
    </Alert>
  )
}

function footText(known: number, more: boolean, found: number | null): string {
  if (found === null)
    return more ? `${counted(known, 'run')} loaded, and there are more` : counted(known, 'run')
  return `${found} found in ${counted(known, 'run')}${more ? ' so far' : ''}`
}

function Empty({ filter, onClear }: { readonly filter: Filter; readonly onClear: () => void }) {
  const filtered = filter.status !== null || filter.goal !== null || filter.search !== ''
  return (
    <Center flex={1} p="xl">
      <Stack align="center" gap="xs" maw={420}>
        <Text fw={600} size="lg">
          {filtered ? 'No run matches' : 'No runs yet'}
        </Text>
        <Text c="dimmed" ta="center">
          {filtered
            ? 'Choose another status, goal or search, or show all runs.'
            : 'A run lets an agent work towards a goal that can be checked, and shows you everything it does. Start one above.'}
        </Text>
        {filtered && (
          <Button variant="default" mt="sm" onClick={onClear}>
            Show all runs
          </Button>
        )}
      </Stack>
    </Center>
  )
}
