import { memo } from 'react'
import './code.css'
import { scrolledByKeyboard } from '../ui/scroll-region.tsx'
import { highlight } from './highlight.tsx'

type Props = {
  readonly text: string
  readonly language?: string | null
  readonly look?: 'code' | 'terminal'
}

export const Code = memo(function Code({ text, language = null, look = 'code' }: Props) {
  return (
    <pre ref={scrolledByKeyboard} className="code" data-look={look}>
      <code>{highlight(text, language)}</code>
    </pre>
  )
})
