import * as z from 'zod'
import { firstSeqOf } from '../../src/audit/bundle/bundle-format.ts'
import { decode } from '../../src/log/codec.ts'
import { isFreeText } from '../../src/redaction/free-text.ts'
import { stringsOf } from '../../src/redaction/places.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { checksummed, contentOf, type Part, replaced, type Taken } from './support.ts'

/** Up to four texts that can be redacted from a run, in the order of its records. @param where from 0 to 1 */
export function someTexts(events: readonly RecordedEvent[], where: number): Taken[] {
  const all = events.flatMap((event) => {
    const { seq, record } = decode(event)._unsafeUnwrap()
    return stringsOf(record.payload)
      .filter(({ pointer }) => isFreeText(record.kind, pointer))
      .map(({ pointer }) => ({ seq, pointer }))
  })
  const step = Math.max(1, Math.floor(all.length / 4))
  return all.filter((_, index) => index % step === Math.floor(where * step)).slice(0, 4)
}

const Line = z.looseObject({ data: z.looseObject({}), metadata: z.looseObject({}) })
type Line = z.infer<typeof Line>

const linesOf = (parts: readonly Part[], path: string): string[] =>
  contentOf(parts, path).toString().split('\n').slice(0, -1)

/** The line with changed contents, and with a fitting checksum if it has one. */
function changed(line: string, change: (line: Line) => void): string {
  const { crc32, ...rest } = Line.parse(JSON.parse(line))
  change(rest as Line)
  const text = JSON.stringify(rest)
  return crc32 === undefined ? text : checksummed(text)
}

const withLines = (parts: readonly Part[], path: string, lines: readonly string[]): Part[] =>
  replaced(parts, path, lines.map((line) => `${line}\n`).join(''))

/**
 * An export with redactions as somebody without a key could change it: entries dropped, doubled, moved
 * and rewritten; commitments, salts and placeholders changed.
 */
export function forgedRedactions(parts: readonly Part[]): Part[][] {
  if (!parts.some(({ path }) => path === 'redactions.ndjson')) return []
  const entries = linesOf(parts, 'redactions.ndjson')
  const file = parts.find(({ path }) => firstSeqOf(path) === 0)?.path ?? ''
  const records = linesOf(parts, file)
  const at = records.findIndex((line) => 'redacted' in Line.parse(JSON.parse(line)).metadata)
  const first = entries[0] ?? ''
  const record = records[at] ?? ''
  const ofRecord = (change: (line: Line) => void) =>
    withLines(parts, file, records.with(at, changed(record, change)))
  const ofEntry = (change: (line: Line) => void) =>
    withLines(parts, 'redactions.ndjson', entries.with(0, changed(first, change)))
  const Gone = z.record(z.string(), z.string())
  return [
    parts.filter(({ path }) => path !== 'redactions.ndjson'),
    withLines(parts, 'redactions.ndjson', entries.slice(1)),
    withLines(parts, 'redactions.ndjson', [first, ...entries]),
    ofEntry(({ data }) => Object.assign(data, { ts: 1 })),
    ofEntry(({ metadata }) => Object.assign(metadata, { principal: 'mallory' })),
    ofRecord(({ metadata }) => {
      const [pointer = ''] = Object.keys(Gone.parse(metadata.redacted))
      Object.assign(Object(metadata.redacted), { [pointer]: '0'.repeat(64) })
    }),
    ofRecord(({ metadata }) => Object.assign(Object(metadata.salts), { '/more': '0'.repeat(64) })),
    ofRecord(({ metadata }) =>
      Object.assign(Object(metadata.redacted), { '/more': '0'.repeat(64) }),
    ),
    ofRecord((line) => {
      line.data = JSON.parse(JSON.stringify(line.data).replace('[redacted]', '[retracted]'))
    }),
  ]
}
