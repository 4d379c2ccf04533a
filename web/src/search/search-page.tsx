import { Button, TextInput, Title } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { IconSearch } from '@tabler/icons-react'
import { useEffect, useRef, useState } from 'react'
import { Link, useSearchParams } from 'wouter'
import type { SearchResult } from '../../../src/client/index.ts'
import { messageOf } from '../api/problem.ts'
import { bound } from '../ui/field.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatFullTime, shortId } from '../ui/format.ts'
import { useShortcuts } from '../ui/use-shortcuts.ts'
import { useTitle } from '../ui/use-title.ts'
import { groupOf, Snippet, useSearch } from './found.tsx'
import classes from './search.module.css'

const TYPING_MS = 250

/** Words in all runs. The address has them. */
export default function SearchPage() {
  const [params, setParams] = useSearchParams()
  const [typed, setTyped] = useState(params.get('q') ?? '')
  const [q] = useDebouncedValue(typed, TYPING_MS)
  const { results, behind, error, isFetching, hasNextPage, fetchNextPage } = useSearch(q)
  const input = useRef<HTMLInputElement>(null)
  useShortcuts([['/', () => input.current?.focus()]])
  useTitle('Search')
  // biome-ignore lint/correctness/useExhaustiveDependencies: the setter is another one with each address
  useEffect(() => setParams(q === '' ? {} : { q }, { replace: true }), [q])
  const runs = [...Map.groupBy(results, ({ run_id }) => run_id)]
  return (
    <div className={classes.page}>
      <Title order={1} className={classes.title}>
        Search
      </Title>
      <TextInput
        ref={input}
        type="search"
        size="md"
        aria-label="Search all runs"
        placeholder={'Words, all of them, or "a phrase"'}
        leftSection={<IconSearch size={18} aria-hidden />}
        {...bound(typed, setTyped)}
        error={error === null || q.trim() === '' ? null : messageOf(error)}
        autoFocus
      />
      <p className={classes.status} role="status">
        {summaryOf(q, results.length, runs.length, { hasNextPage, isFetching, error })}
        {behind > 0 && ` ${counted(behind, 'record')} cannot be found yet.`}
      </p>
      {runs.map(([runId, found]) => (
        <RunResults key={runId} runId={runId} found={found} />
      ))}
      {hasNextPage && (
        <Button variant="default" loading={isFetching} onClick={() => void fetchNextPage()}>
          Show more
        </Button>
      )}
    </div>
  )
}

type Progress = {
  readonly hasNextPage: boolean
  readonly isFetching: boolean
  /** Why nothing was searched; null if something was. */
  readonly error: Error | null
}

function summaryOf(
  q: string,
  records: number,
  runs: number,
  { hasNextPage, isFetching, error }: Progress,
) {
  if (q.trim() === '') return 'In what was said, called, printed and changed, and in errors.'
  if (records === 0 && error !== null) return ''
  if (records === 0) return isFetching ? 'Searching…' : 'Nothing was found.'
  return `${counted(records, 'record')} in ${counted(runs, 'run')}${hasNextPage ? ', and there are more' : ''}.`
}

function RunResults({ runId, found }: { readonly runId: string; readonly found: SearchResult[] }) {
  const title = visible(found[0]?.title ?? '')
  return (
    <section>
      <h2 className={classes.run}>
        <Link href={`/runs/${runId}`}>{title}</Link> <span>{shortId(runId)}</span>
      </h2>
      <ul className={classes.results}>
        {found.map(({ seq, kind, iteration, ts, snippet }) => (
          <li key={seq}>
            <Link href={`/runs/${runId}#seq=${seq}`} className={classes.result}>
              <span className={classes.kind} title={formatFullTime(ts)}>
                {groupOf(kind)}
                {iteration > 0 && `, iteration ${iteration}`}
              </span>
              <span className={classes.snippet}>
                <Snippet {...snippet} />
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </section>
  )
}
