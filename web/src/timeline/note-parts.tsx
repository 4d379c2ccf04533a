import type { IconProps } from '@tabler/icons-react'
import type { ComponentType, ReactNode } from 'react'
import { Block } from '../code/block.tsx'
import { Code } from '../code/code.tsx'
import { useFold } from '../code/fold.tsx'
import type { Note } from '../run/rows.ts'
import { principalOf, type SeqRecord, type SeqRecordOf } from '../run/seq-record.ts'
import { visible } from '../ui/foreign-text.ts'
import classes from './rows.module.css'

type Icon = ComponentType<IconProps>
type Tone = 'plain' | 'human' | 'achieved' | 'failed'

/** How a record is shown that makes a row of its own. */
export type Shown = { readonly icon: Icon; readonly tone: Tone; readonly content: ReactNode }

export type PropsOf<K extends Note['kind']> = { readonly record: SeqRecordOf<K> }

/** How records of these kinds are shown. */
export type Notes<K extends Note['kind'] = Note['kind']> = {
  readonly [P in K]: (record: SeqRecordOf<P>) => Shown
}

export const shown = (icon: Icon, content: ReactNode, tone: Tone = 'plain'): Shown => ({
  icon,
  content,
  tone,
})

/** A row of one line, and below it the words of somebody, if there are any. */
export const lineAnd = (icon: Icon, line: ReactNode, words?: string | null, tone?: Tone): Shown =>
  shown(
    icon,
    <>
      <p className={classes.line}>{line}</p>
      {words != null && <Said words={words} />}
    </>,
    tone,
  )

/** What a person did, by whom and why. */
export const done = (
  icon: Icon,
  record: SeqRecord,
  what: string,
  { rest = '', words, tone }: { rest?: string; words?: string | null | undefined; tone?: Tone },
): Shown =>
  lineAnd(
    icon,
    <>
      {what}
      <By record={record} />
      {rest}
    </>,
    words,
    tone,
  )

/** What somebody wrote. */
export const Said = ({ words }: { readonly words: string }) => (
  <Block text={words}>
    <q className={classes.said}>{visible(words)}</q>
  </Block>
)

/** A row of one line. */
export const plain = (icon: Icon, text: string, tone?: Tone): Shown =>
  lineAnd(icon, visible(text), null, tone)

/** Who caused a record, after what they did; nothing if no person did. */
export function By({ record }: { readonly record: SeqRecord }) {
  const principal = principalOf(record)
  if (principal === null) return null
  return (
    <>
      {' '}
      by <b className={classes.principal}>{principal}</b>
    </>
  )
}

type MoreProps = { readonly name: string; readonly label: string; readonly text: string }

/** A long text that can be folded out. `name` is unique on the page. */
export function More({ name, label, text }: MoreProps) {
  const [open, toggle] = useFold(name)
  return (
    <>
      <button type="button" className={classes.link} aria-expanded={open} onClick={toggle}>
        {open ? `Hide: ${label.toLowerCase()}` : label}
      </button>
      {open && (
        <div className={classes.printed}>
          <Code text={text} wraps />
        </div>
      )}
    </>
  )
}
