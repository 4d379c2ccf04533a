import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { counted } from '../../lib/counted.ts'
import { processMask } from '../../log/masking.ts'
import { readFile } from '../../workspace/read-file.ts'
import { readImage } from './images.ts'
import { bomOf } from './line-edits.ts'
import { failedBy } from './path-problem.ts'
import { projectPath } from './project-path.ts'
import { cutLine, INLINE_BYTES, LINE_CHARS } from './recorded-output.ts'
import { defineTool, failed, succeeded } from './tool.ts'

/** How much one call shows. The rest of a record is for the note below, and for masks. */
const SHOWN_BYTES = INLINE_BYTES - 1024
const SHOWN_LINES = 2000
/** The longest secret that is looked for. A secret that begins in what is shown must be seen whole, to be masked. */
const REACH_BYTES = 24_000
const KEPT_LINE_BYTES = 4 * LINE_CHARS + REACH_BYTES
/** How far into a file a call searches for a line. */
const MAX_SCANNED_BYTES = 256 * 1024 * 1024
/** How far it counts the lines that it does not show. */
const MAX_COUNTED_BYTES = 64 * 1024 * 1024
const NEWLINE = 0x0a

type LineRange = {
  readonly offset: number
  readonly limit: number
  /** The character (code point) of each line to begin with; 1 if left out. What is before it is not masked. */
  readonly column?: number
  readonly signal: AbortSignal
}

/** The kept beginning of a line, and how many characters come after it. */
type KeptLine = { readonly bytes: Buffer; readonly missing: number }

/** Collects the lines of a range from chunks of bytes, and counts the others. Keeps nothing of what it skips. */
class LineCollector {
  readonly #range: LineRange
  /** The bytes before the range: a secret may begin there. */
  before = Buffer.alloc(0)
  readonly lines: KeptLine[] = []
  /** The number of the line at the end of what was read. */
  line = 1
  /** Whether that line has no end yet. */
  isOpen = false
  #parts: Buffer[] = []
  #partBytes = 0
  /** Characters of the line before the column that are still to come, and those after what is kept. */
  #toSkip: number
  #missing = 0
  #shownBytes = 0

  constructor(range: LineRange) {
    this.#range = range
    this.#toSkip = skippedBy(range)
  }

  /** Whether all lines of the range that fit are there. */
  get isFull(): boolean {
    const { limit } = this.#range
    return this.lines.length >= Math.min(limit, SHOWN_LINES) || this.#shownBytes > SHOWN_BYTES
  }

  add(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const newline = chunk.indexOf(NEWLINE, at)
      const end = newline === -1 ? chunk.length : newline
      const isWanted = this.line >= this.#range.offset && !this.isFull
      if (isWanted) this.#keep(chunk.subarray(at, end))
      this.isOpen = newline === -1
      at = end + 1
      if (newline === -1) break
      if (isWanted) this.#finishLine()
      this.line += 1
      if (this.line === this.#range.offset) this.#remember(chunk.subarray(0, at))
    }
    if (this.line < this.#range.offset) this.#remember(chunk)
  }

  /** Ends the last line, if it has no line end. */
  end(): void {
    if (this.isOpen && this.line >= this.#range.offset && !this.isFull) this.#finishLine()
  }

  #remember(bytes: Buffer): void {
    this.before = Buffer.concat([this.before, bytes].map((part) => part.subarray(-REACH_BYTES)))
  }

  #keep(bytes: Buffer): void {
    const rest = this.#toSkip > 0 ? this.#withoutSkipped(bytes) : bytes
    const room = Math.max(0, KEPT_LINE_BYTES - this.#partBytes)
    const kept = rest.subarray(0, room)
    this.#parts.push(kept)
    this.#partBytes += kept.length
    if (rest.length > room) this.#missing += beginningIn(rest.subarray(room))
  }

  #withoutSkipped(bytes: Buffer): Buffer {
    for (const [at, byte] of bytes.entries()) {
      if (!isBeginning(byte)) continue
      if (this.#toSkip === 0) return bytes.subarray(at)
      this.#toSkip -= 1
    }
    return bytes.subarray(bytes.length)
  }

  #finishLine(): void {
    // The number and the tab, at most.
    this.#shownBytes += Math.min(this.#partBytes, LINE_CHARS) + 12
    if (this.#shownBytes <= SHOWN_BYTES || this.lines.length === 0) {
      this.lines.push({ bytes: Buffer.concat(this.#parts), missing: this.#missing })
    }
    this.#parts = []
    this.#partBytes = 0
    this.#toSkip = skippedBy(this.#range)
    this.#missing = 0
  }
}

const skippedBy = ({ column = 1 }: LineRange): number => column - 1

/** Whether a byte of UTF-8 begins a character. */
const isBeginning = (byte: number): boolean => (byte & 0xc0) !== 0x80

/** The characters that begin in these bytes. */
function beginningIn(bytes: Buffer): number {
  let count = 0
  for (const byte of bytes) if (isBeginning(byte)) count += 1
  return count
}

type Read = {
  readonly collected: LineCollector
  /** How many lines the file has; null if they were not counted to the end. */
  readonly total: number | null
}

async function readRange(
  chunks: AsyncIterable<Buffer>,
  range: LineRange,
  what: string,
): Promise<Result<Read, string>> {
  const collected = new LineCollector(range)
  let scanned = 0
  for await (const chunk of chunks) {
    range.signal.throwIfAborted()
    const isBinary = chunk.includes(0)
    if (isBinary && !collected.isFull) return err(`${what} is a binary file.`)
    scanned += chunk.length
    if (collected.isFull && (isBinary || scanned > MAX_COUNTED_BYTES)) {
      return ok({ collected, total: null })
    }
    collected.add(chunk)
    if (collected.line < range.offset && scanned >= MAX_SCANNED_BYTES) {
      return err(
        `${what} is too large: that line is not within its first ${MAX_SCANNED_BYTES} bytes.`,
      )
    }
  }
  collected.end()
  const total = collected.isOpen ? collected.line : collected.line - 1
  if (range.offset > Math.max(1, total)) return err(`${what} has only ${counted(total, 'line')}.`)
  return ok({ collected, total })
}

/** The lines with their numbers, without secrets and line ends, and what the model must know about the rest. */
function present({ collected, total }: Read, { offset }: LineRange, size: number): string {
  if (size === 0) return '[The file is empty.]'
  const before = collected.before.toString()
  const text = collected.lines.map(({ bytes }) => bytes.toString()).join('\n')
  const skipped = before.split('\n').length - 1
  const lines = processMask
    .lines(before + text)
    .split('\n')
    .slice(skipped)
  const missing = collected.lines.map((line) => line.missing)
  const shown = lines.map((line, at) => `${offset + at}\t${shortened(line, missing[at] ?? 0)}`)
  const last = offset + lines.length - 1
  const notes = [
    ...(/\r(?:\n|$)/.test(text) ? ['Lines end with \\r\\n.'] : []),
    ...(bomOf(before + text) === '' ? [] : ['The file begins with a byte order mark.']),
    ...(last === total
      ? []
      : [
          `Lines ${offset} to ${last} of ${total ?? `a file of ${size} bytes`}. Continue with offset ${last + 1}.`,
        ]),
  ]
  return [...shown, ...(notes.length > 0 ? [`[${notes.join(' ')}]`] : [])].join('\n')
}

const shortened = (line: string, missing: number): string =>
  cutLine(line.replace(/\r$/, '').replace(/^\ufeff/, ''), LINE_CHARS, missing)

/** Lines of a text as a model reads them; the error is a sentence. @param what names the text */
export async function readLines(
  { chunks, size }: { readonly chunks: AsyncIterable<Buffer>; readonly size: number },
  range: LineRange,
  what: string,
): Promise<Result<string, string>> {
  const read = await readRange(chunks, range, what)
  return read.map((read) => present(read, range, size))
}

/** The arguments that name a range of lines. */
export const rangeArgs = {
  offset: z.int().min(1).optional().describe('The first line to read; 1 if left out'),
  limit: z.int().min(1).optional().describe('How many lines; as many as fit if left out'),
}

export const fileRead = defineTool({
  name: 'file_read',
  description:
    'Read a file of the project: an image (PNG, JPEG, GIF, WebP), which you are shown if you can see images, or a text from line `offset` (the first is 1) on, at most `limit` lines. Each line comes with its ' +
    `number and a tab, which are no part of the file. One call shows up to ${SHOWN_LINES} lines or about ` +
    `${Math.floor(SHOWN_BYTES / 1000)} kB, and reports how many lines there are and how to read on.`,
  readOnly: true,
  args: z.strictObject({
    path: projectPath.describe('Relative to the project'),
    ...rangeArgs,
  }),
  touches: ({ path }) => ({ paths: [path] }),
  run: async ({ path, offset = 1, limit = SHOWN_LINES }, { signal, workspace, imageTypes }) => {
    const file = await readFile(workspace, path, signal)
    if (file.isErr()) return failedBy(path, file.error)
    const image = await readImage(file.value, { workspace, imageTypes, signal })
    if (image !== null) return image
    const read = await readLines(file.value, { offset, limit, signal }, file.value.shown)
    return read.match(succeeded, failed)
  },
})
