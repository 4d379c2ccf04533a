import type { FileHandle } from 'node:fs/promises'
import { StringDecoder } from 'node:string_decoder'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { processMask } from '../../log/masking.ts'
import { confine, openForReading, projectPath } from './confine.ts'
import { describeProblem } from './path-problem.ts'
import { defineTool, failed, INLINE_BYTES, succeeded } from './tool.ts'

/** Bytes of a file that one call shows. The rest of what fits in a record is for the note below. */
const SHOWN_BYTES = INLINE_BYTES - 512
/** How far into a file a call searches for a line. */
const MAX_SCANNED_BYTES = 256 * 1024 * 1024
const CHUNK_BYTES = 64 * 1024
const NEWLINE = 0x0a

type Request = { readonly offset: number; readonly limit: number; readonly signal: AbortSignal }

type ReadProblem =
  | { readonly type: 'binary' }
  | { readonly type: 'after_the_end'; readonly lines: number }
  | { readonly type: 'too_far' }

/** The bytes from a line on: if possible, more than SHOWN_BYTES. Reads in chunks and keeps nothing of what it skips. */
async function bytesFromLine(
  file: FileHandle,
  { offset, signal }: Request,
): Promise<Result<Buffer, ReadProblem>> {
  const kept: Buffer[] = []
  let keptBytes = 0
  let scanned = 0
  let line = 1
  let last: number | undefined
  // The stream does not get the signal: one that starts aborted emits its error where nobody can catch it.
  const stream = file.createReadStream({ highWaterMark: CHUNK_BYTES, autoClose: false })
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    signal.throwIfAborted()
    if (chunk.includes(0)) return err({ type: 'binary' })
    let at = 0
    while (line < offset) {
      const newline = chunk.indexOf(NEWLINE, at)
      at = newline === -1 ? chunk.length : newline + 1
      if (newline === -1) break
      line += 1
    }
    scanned += chunk.length
    last = chunk.at(-1)
    if (line < offset && scanned >= MAX_SCANNED_BYTES) return err({ type: 'too_far' })
    kept.push(chunk.subarray(at))
    keptBytes += chunk.length - at
    if (keptBytes > SHOWN_BYTES) break
  }
  if (keptBytes > 0 || scanned === 0) return ok(Buffer.concat(kept))
  return err({ type: 'after_the_end', lines: last === NEWLINE ? line - 1 : line })
}

/** The whole lines at the beginning of `bytes` that may be shown, at most `limit` of them. */
function wholeLines(bytes: Buffer, limit: number): { end: number; lines: number } {
  let end = 0
  let lines = 0
  while (lines < limit && end < bytes.length) {
    const newline = bytes.indexOf(NEWLINE, end)
    const next = newline === -1 ? bytes.length : newline + 1
    if (next > SHOWN_BYTES) break
    end = next
    lines += 1
  }
  return { end, lines }
}

function present(bytes: Buffer, { offset, limit }: Request, size: number): string {
  if (size === 0) return '[The file is empty.]'
  const { end, lines } = wholeLines(bytes, limit)
  if (lines === 0) {
    // One line alone is too long. The decoder holds back a character that is cut off.
    const beginning = new StringDecoder('utf8').write(bytes.subarray(0, SHOWN_BYTES))
    const pieces = processMask.pieces()
    const shown = pieces.write(beginning) + pieces.cut()
    const note = `[Line ${offset} is too long: only its beginning is shown.`
    return `${shown}\n${note} The next line has offset ${offset + 1}.]`
  }
  const text = bytes.toString('utf8', 0, end)
  if (end === bytes.length) return text
  const shown = `Lines ${offset} to ${offset + lines - 1} of a file of ${size} bytes`
  return `${text}[${shown}. Continue with offset ${offset + lines}.]`
}

function describeReadProblem(path: string, problem: ReadProblem): string {
  switch (problem.type) {
    case 'binary':
      return `${path} is a binary file.`
    case 'after_the_end':
      return `${path} has only ${problem.lines} line${problem.lines === 1 ? '' : 's'}.`
    case 'too_far':
      return `${path} is too large: that line is not within its first ${MAX_SCANNED_BYTES} bytes.`
  }
}

export const fileRead = defineTool({
  name: 'file_read',
  description:
    'Read a text file of the project, from line `offset` (the first is 1) on, at most `limit` lines. ' +
    `One call shows about ${Math.floor(SHOWN_BYTES / 1000)} kB of whole lines and says how to read on.`,
  readOnly: true,
  args: z.strictObject({
    path: projectPath.describe('Relative to the project'),
    offset: z.int().min(1).optional().describe('The first line to read; 1 where left out'),
    limit: z.int().min(1).optional().describe('How many lines; as many as fit where left out'),
  }),
  run: async ({ path, offset = 1, limit = Number.MAX_SAFE_INTEGER }, { signal, ...project }) => {
    const confined = await confine(project, path)
    if (confined.isErr()) return failed(describeProblem(path, confined.error))
    const opened = await openForReading(confined.value)
    if (opened.isErr()) return failed(describeProblem(path, opened.error))
    const { file, stats } = opened.value
    try {
      const request = { offset, limit, signal }
      const bytes = await bytesFromLine(file, request)
      if (bytes.isErr()) return failed(describeReadProblem(confined.value.shown, bytes.error))
      return succeeded(present(bytes.value, request, stats.size))
    } finally {
      await file.close()
    }
  },
})
