import { IconAlertTriangle, IconCheck, IconCircleDashed, IconEyeOff } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import type { RunDetails } from '../../../src/client/index.ts'
import { messageOf } from '../api/problem.ts'
import { proofQuery } from '../api/queries.ts'
import type { Connection } from '../run/run-store.ts'
import type { RunView } from '../run/run-view.ts'
import type { Verifying } from '../verify/use-verification.ts'
import { Downloads } from './downloads.tsx'
import { examine, type Finding, type Signing } from './findings.ts'
import { Hashes } from './hashes.tsx'
import { Panel } from './panel.tsx'
import classes from './trust-panel.module.css'

type Props = {
  readonly view: RunView
  readonly server: RunDetails | null
  readonly connection: Connection
  readonly verifying: Verifying
  readonly onSeek: (seq: number) => void
}

/** What this page has checked of the run, and what it has not. */
export function TrustPanel({ view, server, connection, verifying, onSeek }: Props) {
  const runId = view.records[0]?.run_id ?? ''
  const signing = useSigning(runId, connection.type === 'complete')
  const findings = examine({ view, server, connection, verifying, signing, onSeek })
  return (
    <Panel title="Can you trust this?" aside={asideOf(findings)}>
      <ul className={classes.findings} data-testid="findings">
        {findings.map((finding) => (
          <li key={finding.what} className={classes.finding} data-verdict={finding.verdict}>
            <Icon verdict={finding.verdict} />
            <span>
              {finding.what}
              {finding.more !== undefined && <small>{finding.more}</small>}
              {finding.action !== undefined && (
                <button type="button" className={classes.action} onClick={finding.action.run}>
                  {finding.action.label}
                </button>
              )}
            </span>
          </li>
        ))}
      </ul>
      <Hashes view={view} verifying={verifying} proof={signing.verdict} />
      {view.records.length > 0 && <Downloads view={view} />}
    </Panel>
  )
}

/** The server's signature on a run: requested when the run has ended, or earlier by a person. */
function useSigning(runId: string, ended: boolean): Signing {
  const [asked, setAsked] = useState(false)
  const proof = useQuery(proofQuery(runId, { ended, enabled: runId !== '' && (ended || asked) }))
  return {
    verdict: proof.data ?? null,
    pending: proof.isFetching,
    error: proof.isError && !proof.isFetching ? messageOf(proof.error) : null,
    ask: () => {
      setAsked(true)
      if (asked || ended) void proof.refetch()
    },
  }
}

function asideOf(findings: readonly Finding[]): string | undefined {
  const count = (wanted: Finding['verdict']): number =>
    findings.filter(({ verdict }) => verdict === wanted).length
  if (count('bad') > 0) return 'no'
  return count('open') > 0 ? `${count('open')} not checked` : undefined
}

function Icon({ verdict }: { readonly verdict: Finding['verdict'] }) {
  switch (verdict) {
    case 'good':
      return <IconCheck size={16} stroke={2.2} aria-label="Checked:" />
    case 'bad':
      return <IconAlertTriangle size={16} stroke={2} aria-label="Wrong:" />
    case 'open':
      return <IconCircleDashed size={16} stroke={1.8} aria-label="Not checked:" />
    case 'note':
      return <IconEyeOff size={16} stroke={1.8} aria-label="Note:" />
  }
}
