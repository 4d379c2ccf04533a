import type { ReactNode } from 'react'

type Props = {
  readonly className: string | undefined
  readonly label: string
  readonly children: ReactNode
}

/** A part of the page that scrolls by itself, and that can be reached and scrolled with the keyboard. */
export function ScrollRegion({ className, label, children }: Props) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section className={className} tabIndex={0} aria-label={label}>
      {children}
    </section>
  )
}

/** Makes what is wider than its place a stop of the Tab key, while it is: not all browsers do. For `ref`. */
export function scrolledByKeyboard(element: HTMLElement | null) {
  if (element === null) return
  const observer = new ResizeObserver(() => {
    const isWider = element.scrollWidth > element.clientWidth
    if (isWider === element.hasAttribute('tabindex')) return
    if (isWider) element.tabIndex = 0
    else element.removeAttribute('tabindex')
  })
  observer.observe(element)
  return () => observer.disconnect()
}
