import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import { untilClosed } from './child.ts'
import { MAX_REPORT_BYTES } from './protocol.ts'

/** What a pipe has brought, each byte as a character; what is more than a report can have is dropped. */
export type PipeText = {
  readonly soFar: () => string
  /** Whether something was dropped. */
  readonly isTooLong: () => boolean
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
    isTooLong: () => text.length > MAX_REPORT_BYTES,
    onText: (listener) => pipe.on('data', listener),
    closed: untilClosed(pipe),
    destroy: () => pipe.destroy(),
  }
}

/** The report in a pipe, between the texts `before` and `after`; null if it is missing, too long or not UTF-8. */
export function reportIn(pipe: PipeText, before = '', after = ''): string | null {
  const text = pipe.soFar()
  if (!text.startsWith(before) || !text.endsWith(after) || pipe.isTooLong()) return null
  const bytes = Buffer.from(text.slice(before.length, text.length - after.length), 'latin1')
  return bytes.length > 0 && isUtf8(bytes) ? bytes.toString() : null
}
