import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import { untilClosed } from './child.ts'
import { MAX_REPORT_BYTES } from './protocol.ts'

/** What a pipe has brought, each byte as a character; what is more than a report can have is dropped. */
export type PipeText = {
  readonly soFar: () => string
  readonly onText: (listener: () => void) => void
  readonly closed: Promise<void>
  readonly destroy: () => void
}

export function textOf(pipe: Readable): PipeText {
  let text = ''
  pipe.setEncoding('latin1').on('data', (piece: string) => {
    if (text.length <= MAX_REPORT_BYTES) text += piece
  })
  return {
    soFar: () => text,
    onText: (listener) => pipe.on('data', listener),
    closed: untilClosed(pipe),
    destroy: () => pipe.destroy(),
  }
}

/** The report in a pipe, after the text `before`; null if it is missing, too long or not UTF-8. */
export function reportIn(pipe: PipeText, before = ''): string | null {
  const text = pipe.soFar()
  if (!text.startsWith(before) || text.length > MAX_REPORT_BYTES) return null
  const bytes = Buffer.from(text.slice(before.length), 'latin1')
  return bytes.length > 0 && isUtf8(bytes) ? bytes.toString() : null
}
