import { useElementSize, useMergedRef } from '@mantine/hooks'
import { IconArrowDown } from '@tabler/icons-react'
import { useVirtualizer, type Virtualizer } from '@tanstack/react-virtual'
import {
  type RefObject,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from 'react'
import type { PartText } from '../../../src/client/index.ts'
import { lastSeqOf, type Row } from '../run/rows.ts'
import type { RunView } from '../run/run-view.ts'
import { usePrinting } from '../ui/use-printing.ts'
import { LiveRowView, liveRowsOf, outputsOf } from './live-rows.tsx'
import { OutputContext } from './row-context.ts'
import { RowView } from './row-view.tsx'
import classes from './timeline.module.css'
import { useOneStop } from './use-one-stop.ts'

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
  /** Whether the page scrolls to what is new, until the end of the run and including it. */
  readonly followed: boolean
  /** Whether the run has not ended. */
  readonly growing: boolean
  /** What is being written. */
  readonly parts: readonly PartText[]
}

/** The height of a row that is being written, before it has been seen. */
const LIVE_HEIGHT = 60

const heightOf = (row: Row | undefined): number =>
  row === undefined ? LIVE_HEIGHT : HEIGHTS[row.type]

/** Whether a row is shown as it is when complete; it is dimmed if it has not happened yet at this record. */
const isSettled = (row: Row, moment: number): boolean =>
  row.seq > moment || lastSeqOf(row) <= moment

/** All that happened, as rows. Only those in sight exist in the page. */
export function Timeline({ view, moment, following, followed, growing, parts }: Props) {
  const { rows, rowOfSeq } = view
  const written = useMemo(() => (following ? liveRowsOf(parts) : []), [following, parts])
  const outputs = useMemo(() => outputsOf(following ? parts : []), [following, parts])
  const count = rows.length + written.length
  const scroller = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count,
    overscan: 6,
    paddingStart: 8,
    paddingEnd: 32,
    scrollPaddingEnd: 32,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => heightOf(rows[index]),
  })
  // The virtualizer says nothing of a change of room if the same rows stay in sight.
  const { ref: measured, height: room } = useElementSize<HTMLDivElement>()
  const placed = useMergedRef(scroller, measured)
  const here = rowOfSeq[moment]
  const isPrinting = usePrinting()
  const items = isPrinting ? onPaper(count) : virtual.getVirtualItems()
  const height = virtual.getTotalSize()
  const top = virtual.scrollOffset ?? 0
  const oneStop = useOneStop(scroller, items.find(({ start }) => start >= top)?.index ?? 0)
  const { atEnd, goToEnd, listeners } = useScrolling(virtual, scroller, {
    following,
    followed,
    count,
    here,
    // The page also follows the growth of what is being written.
    grown: parts.length > 0 ? height : 0,
    room,
  })
  return (
    <div className={classes.frame}>
      <div
        ref={placed}
        className={classes.scroller}
        data-testid="timeline"
        {...listeners}
        {...oneStop}
      >
        <OutputContext value={outputs}>
          <ol className={classes.rows} style={isPrinting ? {} : { height }}>
            {items.map(({ index, key, start }) => {
              const row = rows[index]
              const live = written[index - rows.length]
              return (
                <li
                  key={key}
                  ref={virtual.measureElement}
                  data-index={index}
                  className={classes.row}
                  data-future={row !== undefined && row.seq > moment}
                  data-here={!following && index === here}
                  style={{ transform: `translateY(${start}px)` }}
                >
                  {row !== undefined && (
                    <RowView
                      row={row}
                      moment={isSettled(row, moment) ? Number.POSITIVE_INFINITY : moment}
                      began={view.records[0]?.ts ?? 0}
                      working={growing || moment < view.records.length - 1}
                    />
                  )}
                  {live !== undefined && <LiveRowView row={live} />}
                </li>
              )
            })}
          </ol>
        </OutputContext>
      </div>
      {following && followed && !atEnd && (
        <button type="button" className={classes.toEnd} onClick={goToEnd}>
          <IconArrowDown size={15} aria-hidden /> To the newest
        </button>
      )}
    </div>
  )
}

/** More rows would keep the browser from printing at all. */
const MOST_ON_PAPER = 5000

/** All rows, the last ones if there are too many. */
const onPaper = (count: number) =>
  Array.from({ length: Math.min(count, MOST_ON_PAPER) }, (_, back) => {
    const index = Math.max(0, count - MOST_ON_PAPER) + back
    return { index, key: index, start: 0 }
  })

type Scrolling = Pick<Props, 'following' | 'followed'> & {
  readonly count: number
  /** The row of the record that is shown. */
  readonly here: number | undefined
  /** Changes when the last row may have grown. */
  readonly grown: number
  /** The height of what is in sight, pixels. */
  readonly room: number
}

/** Scrolls to new rows while the end is in sight, to the record that is looked at, and back to the end. */
function useScrolling(
  virtual: Virtualizer<HTMLDivElement, Element>,
  scroller: RefObject<HTMLElement | null>,
  { following, followed, count, here, grown, room }: Scrolling,
) {
  const { atEnd, stick, listeners } = useStickiness(scroller)
  // biome-ignore lint/correctness/useExhaustiveDependencies: it runs again when the last row has grown, or the room for it has changed
  useLayoutEffect(() => {
    if (following && followed && stick.current && count > 0) {
      virtual.scrollToIndex(count - 1, { align: 'end' })
    }
  }, [following, followed, count, grown, room, virtual, stick])

  const goToEnd = useCallback(() => {
    stick.current = true
    virtual.scrollToIndex(count - 1, { align: 'end' })
  }, [stick, virtual, count])
  const wasFollowing = useRef(following)
  // Another tab may have hidden it while the moment moved.
  const isSeen = room > 0
  useEffect(() => {
    if (isSeen && !following && here !== undefined) virtual.scrollToIndex(here, { align: 'center' })
    if (following && !wasFollowing.current) goToEnd()
    wasFollowing.current = following
  }, [isSeen, following, here, virtual, goToEnd])
  return { atEnd, goToEnd, listeners }
}

const AT_END_PX = 60
/** Scrolling this soon after a person has touched the page is that person's. */
const BY_HAND_MS = 500

/** Whether the page follows the end of a growing list: until a person scrolls away, and again with the end in sight. */
function useStickiness(scroller: RefObject<HTMLElement | null>) {
  const stick = useRef(true)
  const touched = useRef(0)
  const [atEnd, setAtEnd] = useState(true)
  const onTouch = (): void => {
    touched.current = performance.now()
  }
  const onScroll = (): void => {
    const element = scroller.current
    if (element === null) return
    const left = element.scrollHeight - element.scrollTop - element.clientHeight
    const there = left < AT_END_PX
    if (there) stick.current = true
    else if (performance.now() - touched.current < BY_HAND_MS) stick.current = false
    setAtEnd(there || stick.current)
  }
  const listeners = {
    onScroll,
    onWheel: onTouch,
    onTouchMove: onTouch,
    onKeyDownCapture: onTouch,
    onPointerDown: onTouch,
  }
  return { atEnd, stick, listeners }
}
