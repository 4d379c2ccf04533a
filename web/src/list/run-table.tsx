import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useRef } from 'react'
import type { RunSummary } from '../../../src/client/index.ts'
import { useNow } from '../ui/use-now.ts'
import { RunLine } from './run-line.tsx'
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
