import { memo } from 'react'
import './code.css'
import { scrolledByKeyboard } from '../ui/scroll-region.tsx'
import { Block } from './block.tsx'
import { highlight } from './highlight.tsx'

type Props = {
  readonly text: string
  readonly language?: string | null
  readonly look?: 'code' | 'terminal'
  /** What is copied, if it is not the text. */
  readonly copies?: string
  /** Whether its lines wrap at first. */
  readonly wraps?: boolean
}

export const Code = memo(function Code(props: Props) {
  const { text, language = null, look = 'code', copies, wraps = false } = props
  return (
    <Block text={text} copies={copies} wraps={wraps}>
      {/* Measured again with each text: its longest line may be longer. */}
      <pre ref={(element) => scrolledByKeyboard(element)} className="code" data-look={look}>
        <code>{highlight(text, language)}</code>
      </pre>
    </Block>
  )
})
