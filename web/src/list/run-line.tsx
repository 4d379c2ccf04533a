import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import type { RunDetails, RunSummary } from '../../../src/client/index.ts'
import { runQuery } from '../api/queries.ts'
import {
  baseName,
  formatAgo,
  formatClock,
  formatCompact,
  formatCost,
  formatCount,
  shortId,
} from '../ui/format.ts'
import { StatusPill } from '../ui/status-pill.tsx'
import classes from './run-table.module.css'

type Props = {
  readonly run: RunSummary
  /** Milliseconds since the epoch. */
  readonly now: number
  /** The list is being scrolled: runs that only pass by are not requested. */
  readonly restless: boolean
}

export function RunLine({ run, now, restless }: Props) {
  const details = useDetails(run, restless)
  const status = details?.status ?? run.status
  const queued = status === 'queued' ? (details ?? run).queued_reason : undefined
  const started = Date.parse(run.created_at)
  return (
    <Link href={`/runs/${run.run_id}`} className={classes.line} data-status={status}>
      <span>
        <div className={classes.goal}>
          {run.goal}
          {details !== null && <span className={classes.quiet}> in {baseName(details.cwd)}</span>}
        </div>
        <div className={classes.where}>
          {shortId(run.run_id)}
          {details !== null && ` · ${details.model_name}`}
          {run.parent_run_id !== undefined && ` · sub-agent of ${shortId(run.parent_run_id)}`}
        </div>
      </span>
      <span>
        <StatusPill status={status} {...(queued === undefined ? {} : { why: queued })} />
      </span>
      <span className={`${classes.iteration} ${classes.optional}`}>
        {details !== null && <Iteration details={details} />}
      </span>
      <span className={`${classes.number} ${classes.optional}`}>
        {details !== null && formatCompact(details.progress.total_tokens)}
      </span>
      <span className={`${classes.number} ${classes.optional}`}>
        {details !== null && formatCost(details.progress.estimated_cost_usd)}
      </span>
      <span className={`${classes.number} ${classes.optional}`}>
        {details !== null && formatClock(((ended(details) ?? now) - started) / 1000)}
      </span>
      <time
        className={`${classes.number} ${classes.quiet} ${classes.started}`}
        dateTime={run.created_at}
        title={new Date(started).toLocaleString()}
      >
        {formatAgo(started, now)}
      </time>
    </Link>
  )
}

const ended = ({ ended_at }: RunDetails): number | null =>
  ended_at === null ? null : Date.parse(ended_at)

function Iteration({ details: { progress, max_iterations } }: { readonly details: RunDetails }) {
  const share = Math.min(100, (100 * progress.iteration) / max_iterations)
  return (
    <>
      <span>
        {formatCount(progress.iteration)}{' '}
        <span className={classes.quiet}>of {formatCount(max_iterations)}</span>
      </span>
      <span className={classes.meter}>
        <i style={{ width: `${share}%` }} />
      </span>
    </>
  )
}

/** Details that the list does not have, read for the runs in sight, and again while they work. */
function useDetails(run: RunSummary, restless: boolean): RunDetails | null {
  const { data } = useQuery({
    ...runQuery(run.run_id),
    enabled: ({ state }) => state.data !== undefined || !restless,
  })
  return data ?? null
}
