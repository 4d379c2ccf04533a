import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { runQuery } from '../api/queries.ts'
import { visible } from '../ui/foreign-text.ts'
import { counted, formatCost, shortId } from '../ui/format.ts'
import { StatusPill } from '../ui/status-pill.tsx'
import classes from './subagent-line.module.css'

type Props = {
  readonly runId: string
  readonly goal: string
  /** Without what it has used. */
  readonly brief?: boolean
}

/** The run of a sub-agent, as it is now: it may wait for a person, or for a server. */
export function SubagentLine({ runId, goal, brief = false }: Props) {
  const { data: run } = useQuery(runQuery(runId))
  const progress = run?.progress
  const cost = progress?.estimated_cost_usd ?? null
  const asked = progress?.waiting_for ?? progress?.subagent?.waiting_for
  const why = asked == null ? run?.queued_reason : `It waits for a person: ${asked.summary}`
  return (
    <div className={classes.line}>
      <span>
        Sub-agent <Link href={`/runs/${runId}`}>{shortId(runId)}</Link> for <b>{visible(goal)}</b>
      </span>
      {run !== undefined && <StatusPill status={run.status} />}
      {progress !== undefined && !brief && (
        <span className={classes.used}>
          {counted(progress.total_tokens, 'token')}
          {cost === null ? '' : `, ${formatCost(cost)}`}
        </span>
      )}
      {why != null && <span className={classes.why}>{visible(why)}</span>}
    </div>
  )
}
