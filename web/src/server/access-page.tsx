import { Button } from '@mantine/core'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link, useSearchParams } from 'wouter'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatCount, formatTime, shortId } from '../ui/format.ts'
import { TablePage } from './table.tsx'

const PAGE = 200

/** Who read what, newest first: of all runs, or of the one in the address. */
export function AccessPage() {
  const runId = useSearchParams()[0].get('run_id') ?? undefined
  const query = useInfiniteQuery({
    queryKey: ['access', runId],
    queryFn: ({ pageParam: after, signal }) =>
      answerOf(
        client().access.list(
          { run_id: runId, direction: 'backward', limit: PAGE, after },
          { signal },
        ),
      ),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: ({ next }) => next ?? undefined,
  })
  return (
    <TablePage
      title={runId === undefined ? 'Access log' : 'Who has seen this run'}
      about={
        runId === undefined ? (
          'Who read what of the runs, as the server recorded it, the newest first.'
        ) : (
          <>
            Of run <Link href={`/runs/${runId}`}>{shortId(runId)}</Link>, the newest first.{' '}
            <Link href="/server/access">Of all runs</Link>
          </>
        )
      }
      query={query}
      columns={['Time', 'Who', 'What', 'Run', 'From', 'Times']}
      rowsOf={({ pages }) =>
        pages
          .flatMap(({ entries }) => entries)
          .map(({ seq, kind, payload }) => {
            const about = 'principal' in payload ? payload : null
            return {
              key: seq,
              cells: [
                formatTime(payload.last_ts * 1000),
                about === null ? '' : visible(about.principal ?? 'unknown'),
                kind.replaceAll('_', ' '),
                about?.run_id != null && (
                  <Link href={`/runs/${about.run_id}`}>{shortId(about.run_id)}</Link>
                ),
                about?.client,
                formatCount(payload.count),
              ],
            }
          })
      }
    >
      {query.hasNextPage && (
        <Button
          variant="default"
          loading={query.isFetchingNextPage}
          onClick={() => void query.fetchNextPage()}
        >
          Show earlier ones
        </Button>
      )}
    </TablePage>
  )
}
