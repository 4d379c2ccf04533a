import { useQuery } from '@tanstack/react-query'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useRef } from 'react'
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
import { useNow } from '../ui/use-now.ts'
import classes from './run-table.module.css'

/** This many runs before the end of the known ones, more are read. */
const MARGIN = 40

type Props = { readonly runs: readonly RunSummary[]; readonly onEnd: () => Promise<void> }

export function RunTable({ runs, onEnd }: Props) {
  const scroller = useRef<HTMLDivElement>(null)
  const now = useNow(15_000)
  const virtual = useVirtualizer({
    count: runs.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 66,
    getItemKey: (index) => runs[index]?.run_id ?? index,
    overscan: 8,
  })
  const items = virtual.getVirtualItems()
  const nearEnd = (items.at(-1)?.index ?? 0) >= runs.length - MARGIN
  const { length } = runs
  // Again after each page: its end may be in sight already.
  // biome-ignore lint/correctness/useExhaustiveDependencies: length changes with each page
  useEffect(() => {
    if (nearEnd) void onEnd()
  }, [nearEnd, length, onEnd])

  return (
    <div className={classes.frame}>
      <div className={classes.head} aria-hidden>
        <span>Goal and project</span>
        <span>Status</span>
        <span>Iteration</span>
        <span className={classes.number}>Tokens</span>
        <span className={classes.number}>Cost</span>
        <span className={classes.number}>Time</span>
        <span className={classes.number}>Started</span>
      </div>
      <div ref={scroller} className={classes.scroller} data-testid="runs">
        <ul className={classes.list} style={{ height: virtual.getTotalSize() }}>
          {items.map(({ index, key, start }) => {
            const run = runs[index]
            if (run === undefined) return null
            return (
              <li
                key={key}
                className={classes.item}
                style={{ transform: `translateY(${start}px)` }}
              >
                <RunLine run={run} now={now} restless={virtual.isScrolling} />
              </li>
            )
          })}
        </ul>
      </div>
    </div>
  )
}

type LineProps = {
  readonly run: RunSummary
  /** Milliseconds since the epoch. */
  readonly now: number
  /** The list is being scrolled: runs that only pass by are not requested. */
  readonly restless: boolean
}

function RunLine({ run, now, restless }: LineProps) {
  const details = useDetails(run, restless)
  const status = details?.status ?? run.status
  const { queued_reason, waiting_for } = details ?? run
  const why = status === 'queued' ? queued_reason : waiting_for?.what
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
        <StatusPill status={status} {...(why === undefined ? {} : { why })} />
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
