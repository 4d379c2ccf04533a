import { Alert, Button, Center, Loader, Stack, Text, Title } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useEffect, useMemo, useSyncExternalStore } from 'react'
import { diskQuery, integrityQuery, isolationQuery, replacedLogQuery } from '../api/queries.ts'
import { counted } from '../ui/format.ts'
import { useTitle } from '../ui/use-title.ts'
import { FilterBar } from './filter-bar.tsx'
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
  const { data: replaced } = useQuery(replacedLogQuery)
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
        <Alert color="red" variant="light" className={classes.problem} role="alert">
          The server's own verification has failed. {doubt}
        </Alert>
      )}
      {isolation?.ok === false && (
        <Alert color="orange" variant="light" className={classes.problem} role="status">
          {isolation.detail}
        </Alert>
      )}
      {typeof noDisk === 'string' && (
        <Alert color="orange" variant="light" className={classes.problem} role="status">
          {noDisk}
        </Alert>
      )}
      {typeof replaced === 'string' && (
        <Alert color="orange" variant="light" className={classes.problem} role="status">
          {replaced}
        </Alert>
      )}
      {problem !== null && (
        <Alert color="red" variant="light" className={classes.problem} role="status">
          {problem} {list !== null && 'This list may be out of date. '}Trying again.
        </Alert>
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
