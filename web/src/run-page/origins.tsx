import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import type { RunState } from '../../../src/domain/state.ts'
import { goingOnQuery } from '../api/queries.ts'
import { hashOf } from '../replay/playhead.ts'
import { formatCount, shortId } from '../ui/format.ts'

type Props = { readonly runId: string; readonly origin: RunState['origin'] }

/** The run that this one begins from, and those that begin from this one. */
export function Origins({ runId, origin }: Props) {
  const { data } = useQuery(goingOnQuery(runId))
  return (
    <>
      {origin !== undefined && (
        <span>
          begins from record {formatCount(origin.seq)} of{' '}
          <Link href={`/runs/${origin.run_id}${hashOf(origin.seq)}`}>{shortId(origin.run_id)}</Link>
        </span>
      )}
      {data?.runs.map(({ run_id, origin: from }) => (
        <span key={run_id}>
          {from?.kind === 'fork'
            ? `forked at record ${formatCount(from.seq)} to `
            : 'continued in '}
          <Link href={`/runs/${run_id}`}>{shortId(run_id)}</Link>
        </span>
      ))}
    </>
  )
}
