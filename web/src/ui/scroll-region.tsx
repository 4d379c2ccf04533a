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

/** Lets the keyboard scroll what is wider than its place: not all browsers do so by themselves. For `ref`. */
export const scrolledByKeyboard = (element: HTMLElement | null): void => {
  if (element !== null && element.scrollWidth > element.clientWidth) element.tabIndex = 0
}
