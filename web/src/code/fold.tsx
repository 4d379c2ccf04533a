import { IconChevronDown } from '@tabler/icons-react'
import { createContext, type ReactNode, use, useState } from 'react'
import { counted } from '../ui/format.ts'
import classes from './fold.module.css'

/** What has been unfolded, by name: rows come and go while one scrolls, and should look as they were left. */
export const Unfolded = createContext<Set<string>>(new Set())

export function useFold(name: string, openAtFirst = false): readonly [boolean, () => void] {
  const unfolded = use(Unfolded)
  const key = openAtFirst ? `closed ${name}` : name
  const [, redraw] = useState(0)
  const toggle = (): void => {
    if (!unfolded.delete(key)) unfolded.add(key)
    redraw((times) => times + 1)
  }
  return [unfolded.has(key) !== openAtFirst, toggle]
}

const SHORT = 14

/** Not by an expression: `\n+$` looks at a long run of breaks once for each of them. */
function withoutLastBreaks(text: string): string {
  let end = text.length
  while (text[end - 1] === '\n') end -= 1
  return text.slice(0, end)
}

const lineCount = (text: string): number => text.split('\n', 100_000).length

type ButtonProps = {
  readonly open: boolean
  /** How many there are in all. */
  readonly lines: number
  readonly onToggle: () => void
}

export function FoldButton({ open, lines, onToggle }: ButtonProps) {
  return (
    <button type="button" className={classes.more} aria-expanded={open} onClick={onToggle}>
      <IconChevronDown size={15} data-open={open} aria-hidden />
      {open ? 'Show less' : `Show all ${counted(lines, 'line')}`}
    </button>
  )
}

type Props = {
  readonly name: string
  /** What decides how long it is. */
  readonly text: string
  readonly children: (shown: string) => ReactNode
  /** Long text is shown by its end: what a command says last matters most. */
  readonly by?: 'head' | 'tail'
}

/** Long text shortened to some lines, until somebody wants all of it. */
export function Folded({ name, text, children, by = 'head' }: Props) {
  const [open, toggle] = useFold(name)
  const trimmed = withoutLastBreaks(text)
  const lines = lineCount(trimmed)
  if (lines <= SHORT + 3) return children(trimmed)
  const all = trimmed.split('\n')
  const part = by === 'head' ? all.slice(0, SHORT) : all.slice(-SHORT)
  const button = <FoldButton open={open} lines={lines} onToggle={toggle} />
  return (
    <>
      {by === 'tail' && button}
      {children(open ? trimmed : part.join('\n'))}
      {by === 'head' && button}
    </>
  )
}
