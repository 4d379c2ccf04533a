import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useRef } from 'react'
import { Link } from 'wouter'
import type { RunSummary } from '../../../src/client/index.ts'
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
                <RunLine run={run} now={now} />
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
}

function RunLine({ run, now }: LineProps) {
  const { status, cwd, model_name, total_tokens } = run
  const why = run.queued_reason ?? run.paused?.reason ?? run.waiting_for?.what
  const cost = run.estimated_cost_usd
  const started = Date.parse(run.created_at)
  return (
    <Link href={`/runs/${run.run_id}`} className={classes.line} data-status={status}>
      <span>
        <div className={classes.goal}>
          {run.goal}
          {cwd !== undefined && <span className={classes.quiet}> in {baseName(cwd)}</span>}
        </div>
        <div className={classes.where}>
          {shortId(run.run_id)}
          {model_name !== undefined && ` · ${model_name}`}
          {run.parent_run_id !== undefined && ` · sub-agent of ${shortId(run.parent_run_id)}`}
          {run.origin !== undefined && ` · begins from ${shortId(run.origin.run_id)}`}
        </div>
      </span>
      <span>
        <StatusPill status={status} why={why} doubt={run.doubt} />
      </span>
      <span className={`${classes.iteration} ${classes.optional}`}>
        <Iteration run={run} />
      </span>
      <span className={`${classes.number} ${classes.optional}`}>
        {total_tokens !== undefined && formatCompact(total_tokens)}
      </span>
      <span className={`${classes.number} ${classes.optional}`}>
        {cost !== undefined && formatCost(cost)}
      </span>
      <span className={`${classes.number} ${classes.optional}`}>
        {run.ended_at !== undefined && formatClock(((endOf(run) ?? now) - started) / 1000)}
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

const endOf = ({ ended_at }: RunSummary): number | null =>
  ended_at == null ? null : Date.parse(ended_at)

function Iteration({ run: { iteration, max_iterations } }: Pick<LineProps, 'run'>) {
  if (iteration === undefined || max_iterations === undefined) return null
  const share = Math.min(100, (100 * iteration) / max_iterations)
  return (
    <>
      <span>
        {formatCount(iteration)}{' '}
        <span className={classes.quiet}>of {formatCount(max_iterations)}</span>
      </span>
      <span className={classes.meter}>
        <i style={{ width: `${share}%` }} />
      </span>
    </>
  )
}
