import { memo } from 'react'
import { highlight } from './highlight.tsx'
import classes from './patch.module.css'
import { type PatchLine, patchLines } from './patch-lines.ts'

type Props = { readonly old: string; readonly fresh: string; readonly language: string | null }

const SIGNS: Readonly<Record<PatchLine['type'], string>> = { same: ' ', removed: '−', added: '+' }
const SAID: Readonly<Record<PatchLine['type'], string>> = {
  same: '',
  removed: 'removed: ',
  added: 'added: ',
}

/** What a patch takes out and puts in, line by line. */
export const Patch = memo(function Patch({ old, fresh, language }: Props) {
  return (
    <div className={classes.patch}>
      {patchLines(old, fresh).map(({ type, text }, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other name and never move
        <div key={index} className={classes.line} data-type={type}>
          <span className={classes.sign} aria-hidden>
            {SIGNS[type]}
          </span>
          {type !== 'same' && <span className={classes.said}>{SAID[type]}</span>}
          <code>{highlight(text, language)}</code>
        </div>
      ))}
    </div>
  )
})
