import { memo, useMemo } from 'react'
import { scrolledByKeyboard } from '../ui/scroll-region.tsx'
import { Block } from './block.tsx'
import classes from './code.module.css'
import { FoldButton, useFold } from './fold.tsx'
import { highlight } from './highlight.tsx'
import { type PatchLine, patchLines } from './patch-lines.ts'

/** A patch with more lines is folded. Fewer lines would often show only what stays the same. */
const SHORT = 30

type Props = {
  readonly name: string
  readonly old: string
  readonly fresh: string
  readonly language: string | null
}

const SIGNS: Readonly<Record<PatchLine['type'], string>> = { same: ' ', removed: '−', added: '+' }
const SAID: Readonly<Record<PatchLine['type'], string>> = {
  same: '',
  removed: 'removed: ',
  added: 'added: ',
}

/** What a patch removes and adds, line by line. */
export const Patch = memo(function Patch({ name, old, fresh, language }: Props) {
  const [open, toggle] = useFold(name)
  const lines = useMemo(() => patchLines(old, fresh), [old, fresh])
  const long = lines.length > SHORT + 3
  const shown = long && !open ? lines.slice(0, SHORT) : lines
  return (
    <>
      <Block text={fresh} wraps={false}>
        <div ref={scrolledByKeyboard} className={classes.patch}>
          {shown.map(({ type, text }, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other name and never move
            <Line key={index} type={type} text={text} language={language} />
          ))}
        </div>
      </Block>
      {long && <FoldButton open={open} lines={lines.length} onToggle={toggle} />}
    </>
  )
})

type LineProps = PatchLine & {
  readonly language: string | null
  /** In front of the line, and not copied with it. */
  readonly numbers?: string
}

export function Line({ type, text, language, numbers }: LineProps) {
  return (
    <div className={classes.line} data-type={type} data-numbers={numbers}>
      <span className={classes.sign} aria-hidden>
        {SIGNS[type]}
      </span>
      {type !== 'same' && <span className={classes.said}>{SAID[type]}</span>}
      <code>{highlight(text, language)}</code>
    </div>
  )
}
