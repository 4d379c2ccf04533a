import { useQuery } from '@tanstack/react-query'
import { client } from '../api/client.ts'
import { answerOf } from '../api/problem.ts'
import { formatTime } from '../ui/format.ts'
import { TablePage } from './table.tsx'

/** The public keys that the server signs with. */
export function KeysPage() {
  const query = useQuery({
    queryKey: ['keys'],
    queryFn: ({ signal }) => answerOf(client().audit.keys({ signal })),
  })
  return (
    <TablePage
      title="Keys"
      about="What the server signs with. Compare a fingerprint with the one that its operator gave you: what was signed before a key was retired stays valid."
      query={query}
      columns={['Fingerprint', 'Made', 'Retired']}
      rowsOf={(keys) =>
        keys.map(({ fingerprint, created, retired }) => ({
          key: fingerprint,
          cells: [
            <code key="fingerprint">{fingerprint}</code>,
            formatTime(Date.parse(created)),
            retired === null ? 'in use' : formatTime(Date.parse(retired)),
          ],
        }))
      }
    />
  )
}
