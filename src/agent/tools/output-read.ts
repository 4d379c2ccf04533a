import { Readable } from 'node:stream'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { NulFree } from '../../domain/fields.ts'
import type { PayloadOf } from '../../domain/records.ts'
import { rangeArgs, readLines } from './file-read.ts'
import { grepText } from './grep-search.ts'
import { INLINE_BYTES } from './recorded-output.ts'
import { defineTool, failed, succeeded, type ToolOutput } from './tool.ts'

const MAX_SEARCHED_BYTES = 64 * 1024 * 1024
const FOUND_LINES = 500
const FOUND_BYTES = INLINE_BYTES - 512

/** As many of the lines as fit, as reads show them. */
function present(found: readonly string[]): ToolOutput {
  if (found.length === 0) return succeeded('No line matches.')
  const shown: string[] = []
  let bytes = 0
  for (const line of found) {
    bytes += Buffer.byteLength(line) + 1
    if (shown.length === FOUND_LINES || bytes > FOUND_BYTES) break
    shown.push(line.replace(':', '\t'))
  }
  const left = found.length - shown.length
  if (left > 0)
    shown.push(`[${left} of ${found.length} matching lines are left out. Search for less.]`)
  return succeeded(shown.join('\n'))
}

/** An output that is in the log as a whole; null if there is no such result. */
function textOf(result: PayloadOf<'tool_result'> | null) {
  if (result === null) return null
  const content = Buffer.from(result.output)
  return { bytes: content.length, stream: Readable.from([content]) }
}

type Search = { readonly pattern?: string | undefined; readonly text?: string | undefined }

/** What is searched for, if anything; the error is for the model. */
function wantedOf({ pattern, text }: Search, ranged: boolean): Result<Search | null, string> {
  const given = [pattern, text].filter((one) => one !== undefined)
  if (given.length === 0) return ok(null)
  if (given.length > 1 || ranged) {
    return err('Give "pattern", or "text", or a range with "offset", "limit" and "column".')
  }
  return ok({ pattern, text })
}

export const outputRead = defineTool({
  name: 'output_read',
  description:
    'Read or search the whole output of an earlier call of this run that was shortened or left out: its lines from `offset` on, ' +
    'or the lines that match `pattern` or hold `text`, with their numbers.',
  readOnly: true,
  args: z.strictObject({
    artifact: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'must be the 64 hex digits that the shortened result names')
      .optional()
      .describe('The name of the artifact, as in the shortened result'),
    call_id: z.string().min(1).optional().describe('The call instead, as in the note about it'),
    ...rangeArgs,
    column: z
      .int()
      .min(1)
      .optional()
      .describe('The character of each line to begin with, to read a long line on; 1 if left out'),
    pattern: NulFree.min(1)
      .max(1000)
      .optional()
      .describe(
        'Extended regular expression (grep -E), ignoring case, such as "error|failed [0-9]+"',
      ),
    text: NulFree.min(1)
      .max(1000)
      .refine((text) => !text.includes('\n'), 'must be a part of one line')
      .optional()
      .describe('Exactly this text, ignoring case, instead of a pattern'),
  }),
  touches: () => ({}),
  run: async ({ artifact, call_id, offset, limit, column, ...search }, context) => {
    const ranged = offset !== undefined || limit !== undefined || column !== undefined
    const wanted = wantedOf(search, ranged)
    if (wanted.isErr()) return failed(wanted.error)
    if ((artifact === undefined) === (call_id === undefined)) {
      return failed('Give "artifact" or "call_id".')
    }
    const earlier = call_id === undefined ? null : context.resultOf(call_id)
    const name = artifact ?? earlier?.sha256
    const found = name == null ? textOf(earlier) : await context.openOutput(name)
    if (found === null)
      return failed(`No result of this run has kept its output as ${name ?? call_id}.`)
    const { bytes, stream } = found
    try {
      if (wanted.value !== null) {
        if (bytes > MAX_SEARCHED_BYTES) return failed('This output is too large to be searched.')
        const { pattern, text = '' } = wanted.value
        const sought = { pattern: pattern ?? text, isText: pattern === undefined }
        const lines = await grepText(stream, sought, context)
        return lines.match(present, (problem) => problem)
      }
      const { signal } = context
      const most = Number.MAX_SAFE_INTEGER
      const range = { offset: offset ?? 1, limit: limit ?? most, column: column ?? 1, signal }
      const read = await readLines({ chunks: stream, size: bytes }, range, 'The output')
      return read.match(succeeded, failed)
    } finally {
      stream.destroy()
    }
  },
})
