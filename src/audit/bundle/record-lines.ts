import { crc32 } from 'node:zlib'
import * as z from 'zod'
import { jsonOr } from '../../lib/json.ts'
import type { StoredRecord } from '../verify/verify-run.ts'

/** A line of records or of entries, without its line break. `created` is when the store took it, ms since the epoch. */
export type RecordLine = StoredRecord & { readonly created: number }

/** Whether a line begins with its CRC-32: so in ledgers that a server sends, and in version 1 of exports. */
export type LineFormat = 'plain' | 'checksummed'

const Line = z.strictObject({
  seq: z.int().nonnegative(),
  id: z.string(),
  type: z.string(),
  created: z.number(),
  data: z.unknown(),
  metadata: z.unknown(),
})

/** Begins a line with a checksum: the CRC-32 of all that follows these bytes, in 8 lower-case hex digits. */
const PREFIX = /^\{"crc32":"([0-9a-f]{8})",/
const PREFIX_LENGTH = '{"crc32":"00000000",'.length

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, '0')

/** Writes a line. Text in the store that is not a record stays text in the line, so it is not a record there. */
export function lineOf(line: RecordLine, format: LineFormat): string {
  const text = textOf(line)
  const rest = text.slice(1)
  return format === 'plain' ? text : `{"crc32":"${checksum(rest)}",${rest}`
}

const textOf = ({ seq, id, type, created, data, metadata }: RecordLine): string =>
  JSON.stringify({ seq, id, type, created, data, metadata })

/**
 * Reads a line. A line must be exactly what would be written for its contents, so it cannot hold a name twice.
 * @returns a sentence about what is wrong, if the line does not hold a record
 */
export function readLine(text: TextLine, format: LineFormat): RecordLine | string {
  if (text === null) return 'the line is cut off or is not UTF-8'
  const wrong = format === 'checksummed' ? wrongChecksum(text) : null
  if (wrong !== null) return wrong
  const json = format === 'checksummed' ? `{${text.slice(PREFIX_LENGTH)}` : text
  const parsed = Line.safeParse(jsonOr(json, json))
  if (!parsed.success) return `the line is not a record: ${z.prettifyError(parsed.error)}`
  const isWritten = textOf(parsed.data) === json
  return isWritten ? parsed.data : 'the line is not written in the one form that it can have'
}

function wrongChecksum(text: string): string | null {
  const given = PREFIX.exec(text)?.[1]
  if (given === undefined) return 'the line does not begin with its checksum'
  const actual = checksum(text.slice(PREFIX_LENGTH))
  return actual === given ? null : `the line names the checksum ${given}, and has ${actual}`
}

/** A longer line is not one of ours, and is not gathered in memory. */
const MAX_LINE_BYTES = 16 * 1024 * 1024

/** A line of a file; null if it lacks its line break or is not UTF-8. */
type TextLine = string | null

/**
 * Splits bytes into lines. They come together as far as there are any, because an `await` for each line costs more than the
 * line.
 */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<readonly TextLine[]> {
  let pieces: Uint8Array[] = []
  let open = 0
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(LINE_BREAK)
    if (end >= 0) {
      yield linesIn(Buffer.concat([...pieces, chunk.subarray(0, end)]))
      pieces = []
      open = 0
    }
    pieces.push(chunk.subarray(end + 1))
    open += chunk.length - end - 1
    if (open > MAX_LINE_BYTES) break
  }
  if (open > 0) yield [null]
}

const LINE_BREAK = 0x0a

/** @param bytes of lines without the last line break */
function linesIn(bytes: Buffer): readonly TextLine[] {
  const text = decoded(bytes)
  if (text !== null) return text.split('\n')
  // One of the lines is not UTF-8: each is decoded by itself to find which.
  const lines = bytes.toString('latin1').split('\n')
  return lines.map((line) => decoded(Buffer.from(line, 'latin1')))
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decoded(bytes: Uint8Array): string | null {
  try {
    return UTF8.decode(bytes)
  } catch {
    return null
  }
}
