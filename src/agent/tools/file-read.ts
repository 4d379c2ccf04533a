import { buffer } from 'node:stream/consumers'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { NulFree, optional } from '../../domain/fields.ts'
import { counted } from '../../lib/text.ts'
import { processMask } from '../../masking/process-mask.ts'
import { imageIn, isImage } from '../../models/images.ts'
import { cutLine, INLINE_BYTES, LINE_CHARS } from './recorded-output.ts'
import { grepText } from './search.ts'
import { bomOf } from './text-edits.ts'
import {
  defineTool,
  failed,
  failedBy,
  MAX_TEXT_BYTES,
  projectPath,
  succeeded,
  type ToolContext,
  type ToolOutput,
} from './tool.ts'

/** How much one call shows. The rest of a record is for the note below, and for masks. */
const SHOWN_BYTES = INLINE_BYTES - 1024
/** How many lines one call shows at most. */
const SHOWN_LINES = 2000
/** The longest secret that is looked for. A secret that begins in what is shown must be seen whole, to be masked. */
const REACH_CHARS = 24_000
/** What comes before a line, at most: its number and a tab. */
const NUMBER_BYTES = 12

type LineRange = {
  readonly offset: number
  readonly limit: number
  /** The character of each line to begin with; 1 if left out. What is before it is not masked. */
  readonly column?: number
}

/** The lines of a range, from the character on that it names, as many as fit. */
function linesIn(all: readonly string[], { offset, limit, column = 1 }: LineRange): string[] {
  const lines: string[] = []
  let bytes = 0
  for (const line of all.slice(offset - 1, offset - 1 + Math.min(limit, SHOWN_LINES))) {
    const wanted = line.slice(column - 1)
    bytes += Buffer.byteLength(wanted.slice(0, LINE_CHARS)) + NUMBER_BYTES
    if (bytes > SHOWN_BYTES && lines.length > 0) break
    lines.push(wanted)
  }
  return lines
}

/**
 * Lines of a text as a model reads them: with their numbers, without secrets and line ends, and with what it must know
 * about the rest. The error is a sentence.
 * @param body its beginning; all of it, if that is less than is read of a text
 * @param what names the text
 */
function readLines(
  { body, size }: { readonly body: Buffer; readonly size: number },
  range: LineRange,
  what: string,
): Result<string, string> {
  if (size === 0) return ok('[The file is empty.]')
  const isWhole = body.length < MAX_TEXT_BYTES
  const all = body.toString().split('\n')
  if (all.at(-1) === '') all.pop()
  const { offset } = range
  if (offset > all.length && isWhole) {
    return err(`${what} has only ${counted(all.length, 'line')}.`)
  }
  const lines = linesIn(all, range)
  if ((lines.length > 0 ? lines : all).some((line) => line.includes('\0'))) {
    return err(`${what} is a binary file.`)
  }
  if (lines.length === 0) {
    return err(`${what} is too large: that line is not within its first ${body.length} bytes.`)
  }
  const before = beforeLine(all, offset)
  const kept = lines.map((line) => line.slice(0, 2 * LINE_CHARS + REACH_CHARS))
  const masked = processMask.lines(before + kept.join('\n')).split('\n')
  const shown = masked.slice(before.split('\n').length - 1).map((line, at) => {
    const missing = (lines[at]?.length ?? 0) - (kept[at]?.length ?? 0)
    const plain = line.replace(/\r$/, '').replace(/^\ufeff/, '')
    return `${offset + at}\t${cutLine(plain, LINE_CHARS, missing)}`
  })
  const last = offset + lines.length - 1
  const total = isWhole ? all.length : `a file of ${size} bytes`
  const notes = [
    ...lineEnds(lines),
    ...(bomOf(lines[0] ?? '') === '' ? [] : ['The file begins with a byte order mark.']),
    ...(last === total
      ? []
      : [`Lines ${offset} to ${last} of ${total}. Continue with offset ${last + 1}.`]),
  ]
  return ok([...shown, ...(notes.length > 0 ? [`[${notes.join(' ')}]`] : [])].join('\n'))
}

/** What file_patch needs to know of lines that end with a carriage return, too. */
function lineEnds(lines: readonly string[]): string[] {
  const count = lines.filter((line) => line.endsWith('\r')).length
  if (count === 0) return []
  // The last line of a file may have no end.
  return count >= lines.length - 1
    ? ['Lines end with \\r\\n.']
    : ['Some lines end with \\r\\n, others with \\n: change them with apply_patch.']
}

/** The text before a line: a secret may begin there. */
function beforeLine(all: readonly string[], offset: number): string {
  let first = offset - 1
  for (let length = 0; first > 0 && length < REACH_CHARS; first -= 1) {
    length += (all[first - 1]?.length ?? 0) + 1
  }
  const before = all.slice(first, offset - 1).map((line) => `${line}\n`)
  return before.join('').slice(-REACH_CHARS)
}

/** A file that is an image, for a model that can be shown it; for others, a sentence about it. Null for a file of another format. */
async function imageOutput(
  { shown, size, body }: { readonly shown: string; readonly size: number; readonly body: Buffer },
  imageTypes: ToolContext['imageTypes'],
): Promise<ToolOutput | null> {
  const types = isImage(body) ? await imageTypes() : []
  const look = imageIn(body, types, size)
  if (look === null) return null
  if ('image' in look) return { ...succeeded(`${shown}: ${look.about}.`), image: look.image }
  const sentence = `${shown}: ${look.about}. ${look.problem}`
  return types.length === 0 ? succeeded(sentence) : failed(sentence)
}

/** The arguments that name a range of lines. */
const rangeArgs = {
  offset: optional(z.int().min(1), 'The first line to read; 1 if left out'),
  limit: optional(z.int().min(1), 'How many lines; as many as fit if left out'),
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
    const asked = { path, bytes: MAX_TEXT_BYTES }
    const read = await workspace.ask('read', asked, { signal })
    if (read.isErr()) return failedBy(path, read.error)
    const image = await imageOutput(read.value, imageTypes)
    if (image !== null) return image
    return readLines(read.value, { offset, limit }, read.value.shown).match(succeeded, failed)
  },
})

/** The whole output that a call had, in the log or as an artifact. The error is for the model. */
async function wholeOutput(
  artifact: string | undefined,
  callId: string | undefined,
  { resultOf, openOutput }: ToolContext,
): Promise<Result<Buffer, string>> {
  const earlier = callId === undefined ? null : resultOf(callId)
  const name = artifact ?? earlier?.sha256
  if (name == null && earlier !== null) return ok(Buffer.from(earlier.output))
  const found = name == null ? null : await openOutput(name)
  if (found === null) {
    return err(`No result of this run has kept its output as ${name ?? callId}.`)
  }
  if (found.bytes <= MAX_TEXT_BYTES) return ok(await buffer(found.stream))
  found.stream.destroy()
  return err(`This output is too large to be read: it has more than ${MAX_TEXT_BYTES} bytes.`)
}

export const outputRead = defineTool({
  name: 'output_read',
  description:
    'Read or search the whole output of an earlier call of this run that was shortened or left out: its lines from `offset` on, ' +
    'or the lines that match `pattern`, with their numbers.',
  readOnly: true,
  args: z
    .strictObject({
      artifact: optional(
        z
          .string()
          .regex(/^[0-9a-f]{64}$/, 'must be the 64 hex digits that the shortened result names'),
        'The name of the artifact, as in the shortened result',
      ),
      call_id: optional(z.string().min(1), 'The call instead, as in the note about it'),
      ...rangeArgs,
      column: optional(
        z.int().min(1),
        'The character of each line to begin with, to read a long line on; 1 if left out',
      ),
      pattern: optional(
        NulFree.min(1).max(1000),
        'Extended regular expression (grep -E), ignoring case, such as "error|failed [0-9]+"',
      ),
    })
    .refine(
      ({ artifact, call_id }) => (artifact === undefined) !== (call_id === undefined),
      'give "artifact" or "call_id"',
    )
    .refine(
      ({ pattern, offset, limit, column }) =>
        pattern === undefined || (offset ?? limit ?? column) === undefined,
      'give "pattern", or a range with "offset", "limit" and "column"',
    ),
  touches: () => ({}),
  run: async ({ artifact, call_id, pattern, ...range }, context) => {
    const output = await wholeOutput(artifact, call_id, context)
    if (output.isErr()) return failed(output.error)
    const body = output.value
    if (pattern !== undefined) {
      const lines = await grepText(body, pattern, context)
      return lines.match(
        (found) =>
          succeeded(found.map((line) => line.replace(':', '\t')).join('\n') || 'No line matches.'),
        (problem) => problem,
      )
    }
    const { offset = 1, limit = SHOWN_LINES, column = 1 } = range
    const asked = { offset, limit, column }
    return readLines({ body, size: body.length }, asked, 'The output').match(succeeded, failed)
  },
})
