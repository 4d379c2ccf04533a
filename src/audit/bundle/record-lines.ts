import { crc32 } from 'node:zlib'
import * as z from 'zod'
import { isExactJson } from '../../lib/exact-json.ts'
import { jsonOr } from '../../lib/json-or.ts'
import { plainMetadata } from '../../lib/plain-metadata.ts'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type StoredRecord, storedRecord } from '../verify/verify-run.ts'

/** A line of records or of entries, without its line break. `created` is when the store took it, ms since the epoch. */
export type RecordLine = StoredRecord & { readonly created: number }

/** Whether a line begins with its CRC-32: so in ledgers that a server sends, and in version 1 of exports. */
export type LineFormat = 'plain' | 'checksummed'

const names = {
  seq: z.int().nonnegative(),
  id: z.string(),
  type: z.string(),
  created: z.number(),
  data: z.unknown(),
  metadata: z.unknown(),
}
const Line = {
  plain: z.strictObject(names),
  checksummed: z.strictObject({ crc32: z.string(), ...names }),
}

/** Begins a line with a checksum: the CRC-32 of all that follows these bytes, in 8 lower-case hex digits. */
const PREFIX = /^\{"crc32":"([0-9a-f]{8})",/
const PREFIX_LENGTH = '{"crc32":"00000000",'.length

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, '0')

/** The line of an event. Text in the store that is not a record stays text in the line, so it is not a record there. */
export function eventLine(event: RecordedEvent, format: LineFormat): string {
  const text = textOf({ ...storedRecord(event), created: event.created })
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
  const plain = format === 'plain' ? readPlainLine(text) : null
  if (plain !== null) return plain
  const wrong = format === 'checksummed' ? wrongChecksum(text) : null
  if (wrong !== null) return wrong
  const parsed = Line[format].safeParse(jsonOr(text, text))
  if (!parsed.success) return `the line is not a record: ${z.prettifyError(parsed.error)}`
  const line: RecordLine = parsed.data
  const expected = textOf(line)
  const isWritten =
    format === 'plain' ? expected === text : expected.slice(1) === text.slice(PREFIX_LENGTH)
  return isWritten ? line : 'the line is not written in the one form that it can have'
}

/** The beginning of a line up to its data. */
const START =
  /^\{"seq":(0|[1-9]\d{0,14}),"id":"([\w-]+)","type":"(\w+)","created":(0|[1-9]\d{0,14}),"data":/
const METADATA = ',"metadata":'

/**
 * Reads the lines of nearly all records in a fraction of the time: what matches needs no parser and no schema, and is
 * written in its one form. Null for any other line.
 */
function readPlainLine(text: string): RecordLine | null {
  const [start, seq, id, type, created] = START.exec(text) ?? []
  if (start === undefined || id === undefined || type === undefined) return null
  const end = text.lastIndexOf(METADATA)
  const meta = plainMetadata(text.slice(end + METADATA.length, -1))
  if (meta === null || !text.endsWith('}')) return null
  const written = text.slice(start.length, end)
  const data = jsonOr(written, written)
  if (typeof data !== 'object' || !isExactJson(written, data)) return null
  return { seq: Number(seq), id, type, created: Number(created), data, metadata: meta, meta }
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

/** Bytes of lines without the last line break. They are one line that is not `ended` if that line break is missing. */
export type LineBytes = { readonly bytes: Uint8Array; readonly ended: boolean }

/** Splits bytes into lines. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TextLine> {
  for await (const lines of lineBytes(chunks)) yield* linesIn(lines)
}

/** Splits bytes between lines: an `await` for each line costs more than the line. @param least how many bytes to gather */
export async function* lineBytes(
  chunks: AsyncIterable<Uint8Array>,
  least = 0,
): AsyncGenerator<LineBytes> {
  let pieces: Uint8Array[] = []
  let bytes = 0
  /** Since the last line break. */
  let open = 0
  for await (const chunk of chunks) {
    const from = chunk.lastIndexOf(0x0a) + 1
    open = from > 0 ? chunk.length - from : open + chunk.length
    if (from > 0 && bytes + from >= least) {
      yield { bytes: Buffer.concat([...pieces, chunk.subarray(0, from - 1)]), ended: true }
      pieces = []
      bytes = 0
      if (open === 0) continue
      pieces.push(chunk.subarray(from))
      bytes = open
    } else {
      pieces.push(chunk)
      bytes += chunk.length
    }
    if (open > MAX_LINE_BYTES) break
  }
  const rest = Buffer.concat(pieces)
  const from = rest.lastIndexOf(0x0a) + 1
  if (from > 0) yield { bytes: rest.subarray(0, from - 1), ended: true }
  if (from < rest.length) yield { bytes: rest.subarray(from), ended: false }
}

/** The lines of bytes that `lineBytes` has split. */
export function linesIn({ bytes, ended }: LineBytes): readonly TextLine[] {
  if (!ended) return [null]
  const text = decoded(bytes)
  if (text !== null) return text.split('\n')
  // One of the lines is not UTF-8: each is decoded by itself to find which.
  const lines: TextLine[] = []
  for (let from = 0; from <= bytes.length; ) {
    const end = bytes.indexOf(0x0a, from)
    const to = end === -1 ? bytes.length : end
    lines.push(decoded(bytes.subarray(from, to)))
    from = to + 1
  }
  return lines
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decoded(bytes: Uint8Array): string | null {
  try {
    return UTF8.decode(bytes)
  } catch {
    return null
  }
}
