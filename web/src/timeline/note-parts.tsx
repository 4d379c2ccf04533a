import type { ReactNode } from 'react'
import { Code } from '../code/code.tsx'
import { useFold } from '../code/fold.tsx'
import { visible } from '../ui/foreign-text.ts'
import classes from './rows.module.css'

/** The size of the icons of rows. */
export const SIZE = { size: 15, stroke: 1.7 } as const

/** How a record is shown that makes a row of its own. */
export type Shown = {
  readonly icon: ReactNode
  readonly tone: 'plain' | 'human' | 'achieved' | 'failed'
  readonly content: ReactNode
}

/** A row of one line, and below it the words of somebody, if there are any. */
export const lineAnd = (icon: ReactNode, line: ReactNode, words?: string | null): Shown => ({
  icon,
  tone: 'plain',
  content: (
    <>
      <p className={classes.line}>{line}</p>
      {words != null && <q className={classes.said}>{visible(words)}</q>}
    </>
  ),
})

/** A row of one line. */
export const plain = (icon: ReactNode, text: string): Shown => lineAnd(icon, visible(text))

/** A long text that can be folded out. `name` is unique on the page. */
export function More({
  name,
  label,
  text,
}: {
  readonly name: string
  readonly label: string
  readonly text: string
}) {
  const [open, toggle] = useFold(name)
  return (
    <>
      <button type="button" className={classes.link} aria-expanded={open} onClick={toggle}>
        {open ? `Hide: ${label.toLowerCase()}` : label}
      </button>
      {open && (
        <div className={classes.printed}>
          <Code text={text} />
        </div>
      )}
    </>
  )
}
