import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { runQuery } from '../api/queries.ts'
import type { SeqRecordOf } from '../run/seq-record.ts'
import { visible } from '../ui/foreign-text.ts'
import { formatCost, formatCount, shortId } from '../ui/format.ts'
import { StatusPill } from '../ui/status-pill.tsx'
import classes from './rows.module.css'

type Props = { readonly record: SeqRecordOf<'subagent_started'> }

/** The run of a sub-agent, as it is now: it may wait for a person. */
export function SubagentNote({ record: { payload } }: Props) {
  const { run_id, config } = payload
  const { data: run } = useQuery(runQuery(run_id))
  const progress = run?.progress
  const asked = progress?.waiting_for ?? progress?.subagent?.waiting_for
  return (
    <>
      <p className={classes.line}>
        Sub-agent <Link href={`/runs/${run_id}`}>{shortId(run_id)}</Link> for <b>{config.goal}</b>{' '}
        {run !== undefined && <StatusPill status={run.status} />}
      </p>
      {asked != null && (
        <p className={classes.line}>It waits for a person: {visible(asked.summary)}</p>
      )}
      {progress !== undefined && (
        <div className={classes.facts}>
          <span>{formatCount(progress.total_tokens)} tokens</span>
          <span>{formatCost(progress.estimated_cost_usd)}</span>
        </div>
      )}
    </>
  )
}
