import type { ReactNode } from 'react'
import classes from './skip-link.module.css'

/** Shown while it has the focus, which it moves to the element with this id. The address stays: it has the moment. */
export function SkipLink({ to, children }: { readonly to: string; readonly children: ReactNode }) {
  return (
    <a
      className={classes.skip}
      href={`#${to}`}
      onClick={(event) => {
        event.preventDefault()
        document.getElementById(to)?.focus()
      }}
    >
      {children}
    </a>
  )
}
