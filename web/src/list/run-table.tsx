import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useLayoutEffect, useRef } from 'react'
import { Link } from 'wouter'
import type { RunSort } from '../../../src/api/records.ts'
import type { RunSummary } from '../../../src/client/index.ts'
import { visible } from '../ui/foreign-text.ts'
import {
  baseName,
  counted,
  formatAgo,
  formatClock,
  formatCompact,
  formatCost,
  formatCount,
  shortId,
} from '../ui/format.ts'
import { inWords } from '../ui/reason.ts'
import { StatusPill } from '../ui/status-pill.tsx'
import { useNow } from '../ui/use-now.ts'
import type { ListOrder, RunList } from './run-list.ts'
import type { RunListStore } from './run-list-store.ts'
import classes from './run-table.module.css'
import { useFamilies } from './use-families.ts'

/** This many runs before the end of the known ones, more are read. */
const MARGIN = 40

type Props = {
  readonly store: RunListStore
  readonly list: RunList
  readonly onOrder: (order: {
    readonly sort: RunSort | undefined
    order: 'asc' | undefined
  }) => void
}

export function RunTable({ store, list, onOrder }: Props) {
  const scroller = useRef<HTMLDivElement>(null)
  const now = useNow(15_000)
  const { lines, toggle } = useFamilies(list.runs)
  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 66,
    getItemKey: (index) => lines[index]?.run.run_id ?? index,
    initialOffset: store.scrollTop,
    overscan: 8,
  })
  const items = virtual.getVirtualItems()
  const nearEnd = (items.at(-1)?.index ?? 0) >= lines.length - MARGIN
  const { length } = lines
  useLayoutEffect(() => {
    if (scroller.current !== null) scroller.current.scrollTop = store.scrollTop
  }, [store])
  // Again after each page: its end may be in sight already.
  // biome-ignore lint/correctness/useExhaustiveDependencies: length changes with each page
  useEffect(() => {
    if (nearEnd) void store.loadOlder()
  }, [nearEnd, length, store])

  return (
    <div className={classes.frame}>
      <Head query={store.query} onOrder={onOrder} />
      <div
        ref={scroller}
        className={classes.scroller}
        data-testid="runs"
        onScroll={(event) => {
          store.scrollTop = event.currentTarget.scrollTop
        }}
      >
        <ul className={classes.list} style={{ height: virtual.getTotalSize() }}>
          {items.map(({ index, key, start }) => {
            const line = lines[index]
            if (line === undefined) return null
            const { run, depth, isOpen } = line
            return (
              <li
                key={key}
                className={classes.item}
                style={{ transform: `translateY(${start}px)` }}
              >
                <RunLine run={run} now={now} depth={depth} />
                {(run.subagents ?? 0) > 0 && (
                  <button
                    type="button"
                    className={classes.family}
                    aria-expanded={isOpen}
                    onClick={() => toggle(run.run_id)}
                  >
                    {counted(run.subagents ?? 0, 'sub-agent')}
                  </button>
                )}
              </li>
            )
          })}
        </ul>
      </div>
    </div>
  )
}

const COLUMNS: readonly (readonly [name: string, sort: RunSort | null])[] = [
  ['Run', 'updated'],
  ['Status', null],
  ['Iteration', 'iterations'],
  ['Tokens', null],
  ['Cost', 'cost'],
  ['Time', null],
  ['Started', 'created'],
]

/** A second click on a column turns its order around. */
function Head({ query: { sort = 'created', order }, onOrder }: HeadProps) {
  return (
    <div className={classes.head}>
      {COLUMNS.map(([name, by], index) => {
        const className = index < 3 ? undefined : classes.number
        if (by === null)
          return (
            <span key={name} className={className} aria-hidden>
              {name}
            </span>
          )
        const isUp = by === sort && order !== 'asc'
        const label = by === 'updated' ? 'Run, by last change' : name
        return (
          <button
            key={name}
            type="button"
            className={className}
            aria-pressed={by === sort}
            aria-label={`Sort by ${label.toLowerCase()}`}
            onClick={() =>
              onOrder({ sort: by === 'created' ? undefined : by, order: isUp ? 'asc' : undefined })
            }
          >
            {label}
            {by === sort && <span aria-hidden>{order === 'asc' ? ' ↑' : ' ↓'}</span>}
          </button>
        )
      })}
    </div>
  )
}

type HeadProps = Pick<Props, 'onOrder'> & { readonly query: ListOrder }

type LineProps = {
  readonly run: RunSummary
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly depth: number
}

function RunLine({ run, now, depth }: LineProps) {
  const { status, total_tokens } = run
  const why =
    run.queued_reason ?? (run.paused && inWords(run.paused.reason)) ?? run.waiting_for?.what
  const cost = run.estimated_cost_usd
  const started = Date.parse(run.created_at)
  return (
    <Link
      href={`/runs/${run.run_id}`}
      className={classes.line}
      data-status={status}
      style={{ ['--depth' as string]: depth }}
    >
      <span>
        <div className={classes.goal}>
          {visible(run.title ?? run.goal)}
          {run.cwd !== undefined && (
            <span className={classes.quiet}> in {run.project || baseName(run.cwd)}</span>
          )}
        </div>
        <Where run={run} />
      </span>
      <span>
        <StatusPill status={status} why={why} doubt={run.doubt} place={run.queue_position} />
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

/** The second line: what differs between runs with the same title. */
function Where({ run }: Pick<LineProps, 'run'>) {
  const { tags = [], parent_run_id: parent, origin } = run
  const parts = [
    shortId(run.run_id),
    run.title === run.goal ? undefined : run.goal,
    run.model_name,
    run.principal === 'local' ? undefined : run.principal,
    parent && `sub-agent of ${shortId(parent)}`,
    origin && `begins from ${shortId(origin.run_id)}`,
  ]
  return (
    <div className={classes.where}>
      {parts.filter((part) => part != null).join(' · ')}
      {tags.map((tag) => (
        <span key={tag} className={classes.tag}>
          {visible(tag)}
        </span>
      ))}
    </div>
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
