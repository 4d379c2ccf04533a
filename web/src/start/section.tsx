import type { ReactNode } from 'react'
import classes from './start-form.module.css'

type Props = { readonly title: string; readonly children: ReactNode }

/** A part of the form with a title. */
export function Section({ title, children }: Props) {
  return (
    <section className={classes.section} aria-label={title}>
      <h3 className={classes.title}>{title}</h3>
      {children}
    </section>
  )
}
