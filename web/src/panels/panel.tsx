import type { ReactNode } from 'react'
import classes from './panel.module.css'

type Props = { readonly title: string; readonly aside?: ReactNode; readonly children: ReactNode }

export function Panel({ title, aside, children }: Props) {
  return (
    <section className={classes.panel}>
      <div className={classes.head}>
        <h2 className={classes.title}>{title}</h2>
        {aside !== undefined && <span className={classes.aside}>{aside}</span>}
      </div>
      {children}
    </section>
  )
}
