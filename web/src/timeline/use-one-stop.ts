import { type FocusEvent, type KeyboardEvent, type RefObject, useLayoutEffect, useRef } from 'react'

const PRESSED = 'button, a[href]'
/** With what scrolls sideways. */
const CONTROLS = `${PRESSED}, [tabindex]`

const controlsIn = (part: Element | null): HTMLElement[] => [
  ...(part?.querySelectorAll<HTMLElement>(CONTROLS) ?? []),
]

const rowOf = (control: Element): HTMLElement | null => control.closest('[data-index]')

/**
 * Makes a list one stop of the Tab key, however many controls are in it. Up and down go from row to row, left and right
 * from control to control in a row. What scrolls sideways counts as reached by Tab, but is passed over.
 * @param first index of the first row in sight, where the list is entered
 */
export function useOneStop(list: RefObject<HTMLElement | null>, first: number) {
  const last = useRef<HTMLElement | null>(null)
  const place = (isLeaving = false): HTMLElement | undefined => {
    const all = controlsIn(list.current)
    const entry = all.find((control) => Number(rowOf(control)?.dataset.index) >= first)
    const stop = all.find((control) => control === last.current) ?? entry ?? all[0]
    for (const control of all) {
      const isReached = control === stop || !(isLeaving || control.matches(PRESSED))
      const tabIndex = isReached ? 0 : -1
      if (control.tabIndex !== tabIndex) control.tabIndex = tabIndex
    }
    return stop
  }
  useLayoutEffect(() => void place())
  return {
    onFocus: ({ target, relatedTarget }: FocusEvent<HTMLElement>): void => {
      const isEntered = !list.current?.contains(relatedTarget) && target.matches(':focus-visible')
      const stop = isEntered && !target.matches(PRESSED) ? place() : target
      last.current = stop ?? target
      if (last.current === target) place()
      else last.current.focus()
    },
    onBlur: () => void place(),
    onKeyDown: (event: KeyboardEvent): void => {
      if (event.key === 'Tab') place(true)
      if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return
      const next = event.target instanceof HTMLElement && neighbour(event.target, event.key)
      if (!next) return
      event.preventDefault()
      next.focus()
    },
  }
}

const SIDES: Readonly<Record<string, 1 | -1>> = { ArrowRight: 1, ArrowLeft: -1 }
const ROWS = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' } as const

/** Where an arrow key leads. In what scrolls sideways, left and right scroll it. */
function neighbour(control: HTMLElement, key: string): HTMLElement | undefined {
  const row = rowOf(control)
  const side = control.matches('button, a') ? SIDES[key] : undefined
  if (side !== undefined) {
    const all = controlsIn(row)
    return all[all.indexOf(control) + side]
  }
  if (key !== 'ArrowDown' && key !== 'ArrowUp') return undefined
  for (let next = row?.[ROWS[key]]; next; next = next[ROWS[key]]) {
    const [found] = controlsIn(next)
    if (found !== undefined) return found
  }
  return undefined
}
