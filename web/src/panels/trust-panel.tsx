import { IconAlertTriangle, IconCheck, IconCircleDashed } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import type { RunDetails } from '../../../src/client/index.ts'
import { proofQuery } from '../api/queries.ts'
import type { Connection } from '../run/run-store.ts'
import type { RunView } from '../run/run-view.ts'
import { formatCount } from '../ui/format.ts'
import { Downloads } from './downloads.tsx'
import { examine, type Finding } from './findings.ts'
import { Panel } from './panel.tsx'
import classes from './trust-panel.module.css'

type Props = {
  readonly view: RunView
  readonly server: RunDetails | null
  readonly connection: Connection
}

/** What this page has checked of the run, and what it has not. */
export function TrustPanel({ view, server, connection }: Props) {
  const last = view.records.length - 1
  const runId = view.records[0]?.run_id ?? ''
  const proof = useQuery(proofQuery(runId, connection.type === 'complete')).data ?? null
  return (
    <Panel title="Can you trust this?" aside={last < 0 ? undefined : `head ${formatCount(last)}`}>
      <ul className={classes.findings}>
        {examine(view, server, connection, proof).map((finding) => (
          <li key={finding.what} className={classes.finding} data-verdict={finding.verdict}>
            <Icon verdict={finding.verdict} />
            <span>
              {finding.what}
              {finding.more !== undefined && <small>{finding.more}</small>}
            </span>
          </li>
        ))}
      </ul>
      {last >= 0 && <Downloads view={view} />}
    </Panel>
  )
}

function Icon({ verdict }: { readonly verdict: Finding['verdict'] }) {
  switch (verdict) {
    case 'good':
      return <IconCheck size={16} stroke={2.2} aria-label="Checked:" />
    case 'bad':
      return <IconAlertTriangle size={16} stroke={2} aria-label="Wrong:" />
    case 'open':
      return <IconCircleDashed size={16} stroke={1.8} aria-label="Not checked:" />
  }
}
