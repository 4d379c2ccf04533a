import { buffer } from 'node:stream/consumers'
import * as z from 'zod'
import { rangeArgs, readLines } from './file-read.ts'
import { defineTool, failed, INLINE_BYTES, succeeded, type ToolOutput } from './tool.ts'

const MAX_SEARCHED_BYTES = 64 * 1024 * 1024
const FOUND_LINES = 500
const FOUND_BYTES = INLINE_BYTES - 512
const LINE_CHARS = 500

/** The lines that hold one of these texts, with their numbers. A text has no slow patterns, so this may run in the server. */
function search(output: string, pattern: string): ToolOutput {
  const texts = pattern.toLowerCase().split('|').filter(Boolean)
  const shown: string[] = []
  let [count, bytes] = [0, 0]
  for (const [index, line] of output.split('\n').entries()) {
    const lower = line.toLowerCase()
    if (!texts.some((text) => lower.includes(text))) continue
    count += 1
    const isLong = line.length > LINE_CHARS
    const cut = isLong ? `${line.slice(0, LINE_CHARS).toWellFormed()} […]` : line
    bytes += Buffer.byteLength(cut) + 12
    if (shown.length < FOUND_LINES && bytes <= FOUND_BYTES) shown.push(`${index + 1}\t${cut}`)
  }
  if (count === 0) return succeeded('No line holds that text.')
  const left = count - shown.length
  if (left > 0)
    shown.push(`[${left} of ${count} lines with it are left out. Search for a rarer text.]`)
  return succeeded(shown.join('\n'))
}

export const outputRead = defineTool({
  name: 'output_read',
  description:
    'Read or search the whole output of an earlier call of this run whose result was shortened: its lines from `offset` on, ' +
    'or with `pattern` the lines that hold a text, with their numbers.',
  readOnly: true,
  args: z.strictObject({
    artifact: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'must be the 64 hex digits that the shortened result names')
      .describe('The name of the artifact, as in the shortened result'),
    ...rangeArgs,
    pattern: z
      .string()
      .min(1)
      .max(1000)
      .refine((text) => /[^|]/.test(text), 'must hold a text')
      .optional()
      .describe('Text to search for, in any case; | between alternatives, such as "error|failed"'),
  }),
  touches: () => ({}),
  run: async ({ artifact, offset, limit, pattern }, { signal, openOutput }) => {
    if (pattern !== undefined && (offset !== undefined || limit !== undefined)) {
      return failed('Give either "pattern", or "offset" and "limit".')
    }
    const found = await openOutput(artifact)
    if (found === null) return failed(`No result of this run has kept its output as ${artifact}.`)
    const { bytes, stream } = found
    try {
      if (pattern !== undefined) {
        if (bytes > MAX_SEARCHED_BYTES) return failed('This output is too large to be searched.')
        return search((await buffer(stream)).toString(), pattern)
      }
      const range = { offset: offset ?? 1, limit: limit ?? Number.MAX_SAFE_INTEGER, signal }
      const read = await readLines({ chunks: stream, size: bytes }, range, 'The output')
      return read.match(succeeded, failed)
    } finally {
      stream.destroy()
    }
  },
})
