import { useQuery } from '@tanstack/react-query'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import { logQuery } from '../api/queries.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatCount, formatTime } from '../ui/format.ts'
import { TablePage } from './table.tsx'

const SHOWN = 100

/** The newest checkpoints over all runs, and who has seen them. */
export function CheckpointsPage() {
  const query = useQuery({
    queryKey: ['checkpoints'],
    queryFn: async ({ signal }) => {
      const { audit } = client()
      // There is no latest one before the first.
      const first = await answerOf(audit.checkpoints({ limit: 1 }, { signal }))
      if (first.length === 0) return []
      const { number } = await answerOf(audit.checkpoint('latest', { signal }))
      const after = Math.max(number - SHOWN, -1)
      return answerOf(audit.checkpoints({ after, limit: SHOWN }, { signal }))
    },
  })
  const { data: log } = useQuery(logQuery(true))
  return (
    <TablePage
      title="Checkpoints"
      about={`Each is a signature on all runs and ledgers as they were. The newest ${SHOWN} are shown.`}
      query={query}
      columns={['Number', 'Signed', 'Runs and ledgers', 'Root']}
      rowsOf={(checkpoints) =>
        checkpoints.toReversed().map(({ number, signed_at, runs, root }) => ({
          key: number,
          cells: [
            formatCount(number),
            formatTime(Date.parse(signed_at)),
            formatCount(runs),
            <code key="root">{root}</code>,
          ],
        }))
      }
    >
      <h2>Witnesses</h2>
      {log?.witnesses.length === 0 && <p>No witness follows this server.</p>}
      {log?.quorum.holds === false && <p role="alert">Too few have seen the newest checkpoint.</p>}
      <ul>
        {log?.witnesses.map(({ name, size, at, problem }) => (
          <li key={name}>
            <b>{visible(name)}</b>{' '}
            {at === null
              ? 'has seen none'
              : `has seen ${formatCount(size ?? 0)}, ${formatTime(Date.parse(at))}`}
            {problem !== null && `: ${visible(problem)}`}
          </li>
        ))}
      </ul>
    </TablePage>
  )
}
