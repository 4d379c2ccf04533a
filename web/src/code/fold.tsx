import { IconChevronDown } from '@tabler/icons-react'
import { createContext, type ReactNode, use, useState } from 'react'
import { counted } from '../ui/format.ts'
import { WholeText } from './block.tsx'
import classes from './code.module.css'

/** What is unfolded, by name: rows disappear and return while a person scrolls, and should look the same. */
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

/** Not with a regular expression: `\n+$` tries each break of a long run of breaks. */
function withoutLastBreaks(text: string): string {
  let end = text.length
  while (text[end - 1] === '\n') end -= 1
  return text.slice(0, end)
}

const lineCount = (text: string): number => text.split('\n', 100_000).length

type ButtonProps = {
  readonly open: boolean
  /** The total number. */
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
  /** Determines its length. */
  readonly text: string
  readonly children: (shown: string) => ReactNode
  /** Long text is shown by its end: the last output of a command matters most. */
  readonly by?: 'head' | 'tail'
}

/** Long text shortened to some lines, until a person opens it. */
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
      <WholeText value={trimmed}>{children(open ? trimmed : part.join('\n'))}</WholeText>
      {by === 'head' && button}
    </>
  )
}
