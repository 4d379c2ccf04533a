import { crc32 } from 'node:zlib'
import * as z from 'zod'
import type { RecordedEvent } from '../../store/event-store.ts'
import { type StoredRecord, storedRecord } from '../verify/verify-run.ts'

/** A line of `records.ndjson`, without its line break. `created` is when the store took the record. */
export type RecordLine = StoredRecord & { readonly created: number }

const Line = z.strictObject({
  crc32: z.string(),
  seq: z.int().nonnegative(),
  id: z.string(),
  type: z.string(),
  created: z.number(),
  data: z.unknown(),
  metadata: z.unknown(),
})

/** Begins every line: the CRC-32 of what stands behind these bytes, in 8 lower-case hex digits. */
const PREFIX = /^\{"crc32":"([0-9a-f]{8})",/
const PREFIX_LENGTH = '{"crc32":"00000000",'.length

/** The line of an event. What is no record in the store is none in an export: its text stays text there. */
export function eventLine(event: RecordedEvent): string {
  return lineOf({ ...storedRecord(event), created: event.created })
}

function lineOf(line: RecordLine): string {
  const rest = restOf(line)
  return `{"crc32":"${checksum(rest)}",${rest}`
}

/** What comes after the checksum. */
const restOf = ({ seq, id, type, created, data, metadata }: RecordLine): string =>
  JSON.stringify({ seq, id, type, created, data, metadata }).slice(1)

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, '0')

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/**
 * Reads a line. The checksum finds every accident and names its line; that a line is exactly what would
 * be written for its contents leaves no room for names that stand twice in it.
 * @returns what is wrong with it, as a sentence, where it is none
 */
export function readLine(text: string): RecordLine | string {
  const given = PREFIX.exec(text)?.[1]
  if (given === undefined) return 'the line does not begin with its checksum'
  const rest = text.slice(PREFIX_LENGTH)
  const actual = checksum(rest)
  if (actual !== given) return `the line has the checksum ${actual}, and ${given} stands in it`
  const parsed = Line.safeParse(parsedJson(text))
  if (!parsed.success) return `the line is no record: ${z.prettifyError(parsed.error)}`
  const { crc32: _, ...line } = parsed.data
  if (restOf(line) !== rest) return 'the line is not written in the one form that it can have'
  return line
}
