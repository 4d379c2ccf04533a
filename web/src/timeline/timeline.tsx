import { IconArrowDown } from '@tabler/icons-react'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useLayoutEffect, useRef } from 'react'
import type { Row } from '../run/rows.ts'
import type { RunView } from '../run/run-view.ts'
import { lastSeqOf, RowView } from './row-view.tsx'
import classes from './timeline.module.css'
import { useStickiness } from './use-stickiness.ts'

/** What rows measure before they have been seen, pixels. */
const HEIGHTS: Readonly<Record<Row['type'], number>> = {
  iteration: 56,
  step: 34,
  message: 96,
  tool: 60,
  goal: 108,
  human: 150,
  closed: 34,
  note: 44,
}

type Props = {
  readonly view: RunView
  readonly moment: number
  /** Whether the page shows the newest record. */
  readonly following: boolean
  /** Whether the run has not ended. */
  readonly growing: boolean
}

/** A row as it is complete, or dimmed if it has not happened yet at this record. */
const isSettled = (row: Row, moment: number): boolean =>
  row.seq > moment || lastSeqOf(row) <= moment

/** All that happened, as rows. Only those in sight exist in the page. */
export function Timeline({ view, moment, following, growing }: Props) {
  const { rows, rowOfSeq } = view
  const scroller = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => HEIGHTS[rows[index]?.type ?? 'note'],
    overscan: 6,
    paddingStart: 8,
    paddingEnd: 32,
    scrollPaddingEnd: 32,
  })
  const { atEnd, stick, listeners } = useStickiness(scroller)

  // The page follows new rows while the end is in sight.
  useLayoutEffect(() => {
    if (following && growing && stick.current && rows.length > 0) {
      virtual.scrollToIndex(rows.length - 1, { align: 'end' })
    }
  }, [following, growing, rows.length, virtual, stick])

  const here = rowOfSeq[moment]
  const followed = useRef(following)
  useEffect(() => {
    if (!following && here !== undefined) virtual.scrollToIndex(here, { align: 'center' })
    if (following && !followed.current) {
      virtual.scrollToIndex(rows.length - 1, { align: 'end' })
      stick.current = true
    }
    followed.current = following
  }, [following, here, rows.length, virtual, stick])

  const began = view.records[0]?.ts ?? 0
  return (
    <div className={classes.frame}>
      <div ref={scroller} className={classes.scroller} data-testid="timeline" {...listeners}>
        <ol className={classes.rows} style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map(({ index, key, start }) => {
            const row = rows[index]
            if (row === undefined) return null
            return (
              <li
                key={key}
                ref={virtual.measureElement}
                data-index={index}
                className={classes.row}
                data-future={row.seq > moment}
                data-here={!following && index === here}
                style={{ transform: `translateY(${start}px)` }}
              >
                <RowView
                  row={row}
                  moment={isSettled(row, moment) ? Number.POSITIVE_INFINITY : moment}
                  began={began}
                  working={growing || moment < view.records.length - 1}
                />
              </li>
            )
          })}
        </ol>
      </div>
      {following && growing && !atEnd && (
        <button
          type="button"
          className={classes.toEnd}
          onClick={() => {
            stick.current = true
            virtual.scrollToIndex(rows.length - 1, { align: 'end' })
          }}
        >
          <IconArrowDown size={15} aria-hidden /> To the newest
        </button>
      )}
    </div>
  )
}
