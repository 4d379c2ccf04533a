import { IconAlertTriangle, IconCheck, IconCircleDashed } from '@tabler/icons-react'
import type { RunDetails } from '../../../src/client/index.ts'
import type { Connection } from '../run/run-store.ts'
import type { RunView } from '../run/run-view.ts'
import { formatCount } from '../ui/format.ts'
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
  return (
    <Panel title="Can you trust this?" aside={last < 0 ? undefined : `head ${formatCount(last)}`}>
      <ul className={classes.findings}>
        {examine(view, server, connection).map((finding) => (
          <li key={finding.what} className={classes.finding} data-verdict={finding.verdict}>
            <Icon verdict={finding.verdict} />
            <span>
              {finding.what}
              {finding.more !== undefined && <small>{finding.more}</small>}
            </span>
          </li>
        ))}
      </ul>
      {last >= 0 && (
        <button type="button" className={classes.download} onClick={() => download(view)}>
          Download these records as JSON lines
        </button>
      )}
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

function download({ records }: RunView): void {
  const lines = records.map((record) => `${JSON.stringify(record)}\n`)
  const address = URL.createObjectURL(new Blob(lines, { type: 'application/x-ndjson' }))
  const link = document.createElement('a')
  link.href = address
  link.download = `run-${records[0]?.run_id ?? ''}.jsonl`
  link.click()
  URL.revokeObjectURL(address)
}
