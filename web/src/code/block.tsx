import { createContext, type ReactNode, use, useState } from 'react'
import { CopyButton } from '../ui/copy-button.tsx'
import { withoutColours } from './ansi.ts'
import classes from './block.module.css'

/** The whole of a text of which a part is shown, to be copied; null where all of it is. */
export const WholeText = createContext<string | null>(null)

type Props = {
  /** What is copied, unless a part of a longer text is shown. */
  readonly text: string | (() => string)
  /** What is copied in any case. */
  readonly copies?: string | undefined
  /** Whether its lines wrap at first; left out where they always do. */
  readonly wraps?: boolean
  readonly children: ReactNode
}

/** A text of somebody else: it can be copied whole, and its lines wrap or do not. */
export function Block({ text, copies, wraps, children }: Props) {
  const [wrapped, setWrapped] = useState(wraps)
  const part = use(WholeText) ?? text
  const whole = () => copies ?? withoutColours(typeof part === 'string' ? part : part())
  return (
    <div className={classes.block} data-wrapped={wrapped}>
      {children}
      <div className={classes.tools} data-on-screen>
        {wrapped !== undefined && (
          <button type="button" aria-pressed={wrapped} onClick={() => setWrapped(!wrapped)}>
            Wrap
          </button>
        )}
        <CopyButton value={whole}>
          {({ copied, copy }) => (
            <button type="button" onClick={copy}>
              {copied ? 'Copied' : 'Copy'}
            </button>
          )}
        </CopyButton>
      </div>
    </div>
  )
}
