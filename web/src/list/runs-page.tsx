import { Alert, Button, Center, Loader, Stack, Text, Title } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type ReactNode, useSyncExternalStore } from 'react'
import { diskQuery, integrityQuery, isolationQuery } from '../api/queries.ts'
import { counted } from '../ui/format.ts'
import { useTitle } from '../ui/use-title.ts'
import { FilterBar } from './filter-bar.tsx'
import { NoticesQuestion } from './notices-question.tsx'
import { listFor } from './run-list-store.ts'
import { RunTable } from './run-table.tsx'
import classes from './runs-page.module.css'
import { isFiltered, NO_FILTER, queryFor, useFilter } from './use-filter.ts'

export function RunsPage() {
  const [filter, change] = useFilter()
  const store = listFor(queryFor(filter))
  const { list, problem } = useSyncExternalStore(store.subscribe, store.getSnapshot)
  const { data: doubt } = useQuery(integrityQuery)
  const { data: isolation } = useQuery(isolationQuery)
  const { data: noDisk } = useQuery(diskQuery)
  useTitle('')

  return (
    <div className={classes.page}>
      <div className={classes.head}>
        <Title order={1} className={classes.title}>
          Runs
        </Title>
        <FilterBar filter={filter} onChange={change} runs={list?.runs ?? []} />
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
      ) : list.runs.length === 0 ? (
        <Empty filtered={isFiltered(filter)} onClear={() => change(NO_FILTER)} />
      ) : (
        <RunTable key={JSON.stringify(store.query)} store={store} list={list} onOrder={change} />
      )}
      <div className={classes.foot}>
        <span role="status">{list !== null && footText(list.runs.length, list.next !== null)}</span>
        <NoticesQuestion />
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

const footText = (known: number, more: boolean): string =>
  more ? `${counted(known, 'run')} loaded, and there are more` : counted(known, 'run')

type EmptyProps = { readonly filtered: boolean; readonly onClear: () => void }

function Empty({ filtered, onClear }: EmptyProps) {
  return (
    <Center flex={1} p="xl">
      <Stack align="center" gap="xs" maw={420}>
        <Text fw={600} size="lg">
          {filtered ? 'No run matches' : 'No runs yet'}
        </Text>
        <Text c="dimmed" ta="center">
          {filtered
            ? 'Choose other filters, or show all runs.'
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
