import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import * as z from 'zod'
import { fetchLines } from '../api/files.ts'
import { hashOf } from '../replay/playhead.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatTime, shortId } from '../ui/format.ts'
import { TablePage } from './table.tsx'

/** An entry of the ledger of redactions, as far as it is shown. */
const Entry = z.object({
  seq: z.int(),
  data: z.object({
    ts: z.number(),
    payload: z.object({
      run_id: z.uuid(),
      seq: z.int(),
      redacted: z.record(z.string(), z.string()),
      reason: z.string(),
    }),
  }),
  metadata: z.object({ principal: z.string().nullish() }),
})

/** What was redacted in all runs, the newest first. */
export function RedactionsPage() {
  const query = useQuery({
    queryKey: ['redactions'],
    queryFn: async ({ signal }) => z.array(Entry).parse(await fetchLines(LEDGER, signal)),
  })
  return (
    <TablePage
      title="Redactions"
      about="What was removed from runs, and why. Commitments to the texts stay, so that the rest can still be verified."
      query={query}
      columns={['Time', 'Who', 'Run', 'Places', 'Reason']}
      rowsOf={(entries) =>
        entries.toReversed().map(({ seq, data: { ts, payload }, metadata }) => ({
          key: seq,
          cells: [
            formatTime(ts * 1000),
            visible(metadata.principal ?? ''),
            <Link key="run" href={`/runs/${payload.run_id}${hashOf(payload.seq)}`}>
              {shortId(payload.run_id)}, record {payload.seq}
            </Link>,
            visible(Object.keys(payload.redacted).join(', ')),
            visible(payload.reason),
          ],
        }))
      }
    />
  )
}

const LEDGER = '/api/ledgers/redactions'
