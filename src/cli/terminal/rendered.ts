import { styleText } from 'node:util'
import { io } from './io.ts'
import { harmless } from './plain-text.ts'

/** A line for people. Its parts are plain or have a style. */
export type Line = string | readonly (string | Styled)[]
export type Styled = {
  readonly text: string
  readonly style: 'bold' | 'cyan' | 'dim' | 'green' | 'red' | 'yellow'
}

const OUTCOMES: Readonly<Record<string, Styled['style']>> = {
  ...{ achieved: 'green', failed: 'red', aborted: 'dim' },
  ...{ awaiting_human: 'yellow', paused: 'yellow', running: 'cyan' },
}

/** The status of a run, in its colour. @param text what is shown of it; without it, the status */
export const outcome = (status: string, text = status): string | Styled => {
  const style = OUTCOMES[status]
  return style === undefined ? text : { text, style }
}

/** The text for the terminal. Only the styles of its parts colour it. */
export function rendered(line: Line): string {
  if (typeof line === 'string') return harmless(line)
  return line
    .map((part) =>
      typeof part === 'string'
        ? harmless(part)
        : styleText(part.style, harmless(part.text), { stream: io().stdout }),
    )
    .join('')
}
