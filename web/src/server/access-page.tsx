import { useQuery } from '@tanstack/react-query'
import { Link, useSearchParams } from 'wouter'
import type { AccessKind } from '../../../src/api/records.ts'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatCount, formatTime, shortId } from '../ui/format.ts'
import { TablePage } from './table.tsx'

/** What somebody did, or what the entry says about the log. */
const WORDS: Readonly<Record<AccessKind, string>> = {
  runs_listed: 'Listed runs',
  searched: 'Searched',
  run_read: 'Read the run',
  run_watched: 'Watched the run',
  run_exported: 'Exported the run',
  run_verified: 'Verified the run',
  feed_read: 'Read records of many runs',
  feed_watched: 'Watched all runs',
  checkpoints_read: 'Read the checkpoints',
  ledger_read: 'Read a ledger, such as this log',
  watch_ended: 'Stopped watching',
  access_refused: 'Was refused',
  entries_lost: 'Entries were lost',
}

/** Who read what, newest first: of all runs, or of the one in the address. */
export function AccessPage() {
  const params = useSearchParams()[0]
  const run_id = params.get('run_id') ?? undefined
  const after = Number(params.get('before')) || undefined
  const query = useQuery({
    queryKey: ['access', run_id, after],
    queryFn: ({ signal }) =>
      answerOf(client().access.list({ run_id, after, direction: 'backward' }, { signal })),
  })
  const next = query.data?.next ?? null
  return (
    <TablePage
      title={run_id === undefined ? 'Access log' : 'Who has seen this run'}
      about={
        run_id === undefined ? (
          'Who read what of the runs, as the server recorded it, the newest first.'
        ) : (
          <>
            Of run <Link href={`/runs/${run_id}`}>{shortId(run_id)}</Link>, the newest first.{' '}
            <Link href="/server/access">Of all runs</Link>
          </>
        )
      }
      query={query}
      columns={['Time', 'Who', 'What', 'Run', 'From', 'Times']}
      rowsOf={({ entries }) =>
        entries.map(({ seq, kind, payload }) => {
          const about = 'principal' in payload ? payload : null
          return {
            key: seq,
            cells: [
              formatTime(payload.last_ts * 1000),
              about === null ? '' : visible(about.principal ?? 'unknown'),
              WORDS[kind],
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
      {next !== null && (
        <Link
          href={`/server/access?${run_id === undefined ? '' : `run_id=${run_id}&`}before=${next}`}
        >
          Earlier ones
        </Link>
      )}
    </TablePage>
  )
}
