import { type RefObject, useRef, useState } from 'react'

const AT_END_PX = 60
/** Scrolling this soon after a sign of a person is that person's. */
const BY_HAND_MS = 500

/**
 * Whether the page follows the end of a growing list: until a person scrolls away from it, and
 * again once the end is in sight.
 */
export function useStickiness(scroller: RefObject<HTMLElement | null>) {
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
    onKeyDown: onTouch,
    onPointerDown: onTouch,
  }
  return { atEnd, stick, listeners }
}
