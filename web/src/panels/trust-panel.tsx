import { IconAlertTriangle, IconCheck, IconCircleDashed, IconEyeOff } from '@tabler/icons-react'
import { useMutation, useQuery } from '@tanstack/react-query'
import { memo, useState } from 'react'
import { Link } from 'wouter'
import { fetchExport, save } from '../api/files.ts'
import { messageOf } from '../api/problem.ts'
import { logQuery, meQuery, proofQuery } from '../api/queries.ts'
import { useMayNot } from '../api/use-may.ts'
import type { RunView } from '../run/run-view.ts'
import { CopyButton } from '../ui/copy-button.tsx'
import { formatCount } from '../ui/format.ts'
import type { ProofVerdict } from '../verify/protocol.ts'
import type { Verifying } from '../verify/use-verification.ts'
import { type Evidence, examine, type Finding, type Signing } from './findings.ts'
import { Panel } from './panel.tsx'
import classes from './trust-panel.module.css'

type Props = Omit<Evidence, 'signing' | 'witnessed'>

/** What this page has checked of the run, and what it has not. The same at every moment of a replay. */
export const TrustPanel = memo(function TrustPanel(props: Props) {
  const { view, connection, verifying } = props
  const runId = view.records[0]?.run_id ?? ''
  const signing = useSigning(runId, connection.type === 'complete')
  const { data: me } = useQuery(meQuery)
  const log = useQuery(logQuery(me?.may.includes('checkpoints:read') === true))
  const witnessed = log.data && { ...log.data, now: log.dataUpdatedAt }
  const findings = examine({ ...props, signing, witnessed })
  return (
    <Panel title="Can you trust this?" aside={asideOf(findings)}>
      <ul className={classes.findings} data-testid="findings">
        {findings.map((finding) => (
          <li key={finding.what} className={classes.finding} data-verdict={finding.verdict}>
            {ICONS[finding.verdict]}
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
})

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

const ICONS = {
  good: <IconCheck size={16} stroke={2.2} aria-label="Checked:" />,
  bad: <IconAlertTriangle size={16} stroke={2} aria-label="Wrong:" />,
  open: <IconCircleDashed size={16} stroke={1.8} aria-label="Not checked:" />,
  note: <IconEyeOff size={16} stroke={1.8} aria-label="Note:" />,
}

type HashesProps = {
  readonly view: RunView
  readonly verifying: Verifying
  readonly proof: ProofVerdict | null
}

/** What to keep, or to compare with a kept copy: this page cannot check who operates the server. */
function Hashes({ view: { records }, verifying: { verified }, proof }: HashesProps) {
  const head = records[verified - 1]?.meta?.hash
  const { key, policy } = proof?.type === 'good' ? proof : { key: null, policy: null }
  if (head === undefined) return null
  return (
    <>
      <dl className={classes.hashes}>
        <Hash name={`Hash of record ${formatCount(verified - 1)}`} value={head} />
        {policy !== null && <Hash name="Signed isolation policy" value={policy} />}
        {key !== null && <Hash name="Fingerprint of the key" value={key} />}
      </dl>
      {key !== null && (
        <p className={classes.hint}>
          Compare the fingerprint with the one that the operator of the server gave you.
        </p>
      )}
    </>
  )
}

function Hash({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div className={classes.hash}>
      <dt>{name}</dt>
      <dd>
        <CopyButton value={value}>
          {({ copied, copy }) => (
            <button type="button" className={classes.hex} title="Copy" onClick={copy}>
              {copied
                ? 'Copied'
                : partsOf(value).map((part) => <span key={part.at}>{part.text}</span>)}
            </button>
          )}
        </CopyButton>
      </dd>
    </div>
  )
}

/** Digits in a row that people can compare without losing their place. */
const DIGITS = 16

/** A hash in parts, which stay whole where it wraps. Together they are its text. */
const partsOf = (hash: string) =>
  Array.from({ length: Math.ceil(hash.length / DIGITS) }, (_, index) => {
    const at = index * DIGITS
    return { at, text: hash.slice(at, at + DIGITS) }
  })

const EXPORTS = [
  { format: 'tar.gz', label: 'Signed export (.tar.gz)' },
  { format: 'html', label: 'Page of evidence (.html)' },
] as const

/** Downloads of the run, with all its proofs or only the records of this page; and who has read it. */
function Downloads({ view: { records } }: { readonly view: RunView }) {
  const runId = records[0]?.run_id ?? ''
  const mayNot = useMayNot('runs:export')
  const maySee = useMayNot('access:read') === null
  const exported = useMutation({
    mutationFn: async (format: 'tar.gz' | 'html') =>
      save(await fetchExport(runId, format), `retrai-run-${runId}.${format}`),
  })
  const saveLines = (): void => {
    const lines = records.map((record) => `${JSON.stringify(record)}\n`)
    save(new Blob(lines, { type: 'application/x-ndjson' }), `run-${runId}.jsonl`)
  }
  return (
    <div className={classes.downloads}>
      {EXPORTS.map(({ format, label }) => (
        <button
          key={format}
          type="button"
          className={classes.download}
          disabled={mayNot !== null}
          title={mayNot ?? undefined}
          onClick={() => exported.mutate(format)}
        >
          {exported.isPending && exported.variables === format ? 'Preparing the export' : label}
        </button>
      ))}
      <button type="button" className={classes.download} onClick={saveLines}>
        These records (.jsonl)
      </button>
      {maySee && (
        <Link className={classes.download} href={`/server/access?run_id=${runId}`}>
          Who has seen this run
        </Link>
      )}
      {exported.isError && <span role="alert">{messageOf(exported.error)}</span>}
    </div>
  )
}
