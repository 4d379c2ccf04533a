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
