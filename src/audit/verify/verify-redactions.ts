import { err, ok, type Result } from 'neverthrow'
import { decodeParsedAs } from '../../log/codec.ts'
import { type LoggedRedaction, REDACTIONS, Redaction } from '../../redaction/redaction-ledger.ts'
import { linesOf } from '../bundle/lines.ts'
import { readLine } from '../bundle/record-line.ts'
import { type StoredRecord, whatChanged } from './verify-run.ts'

/** An entry of the ledger of redactions that is what its hash says, or what is wrong with it. */
export function readRedaction(stored: StoredRecord): Result<LoggedRedaction, string> {
  const place = { stream: REDACTIONS.stream, revision: stored.seq }
  return decodeParsedAs(Redaction, place, stored.data, stored.metadata)
    .mapErr(({ message }) => message)
    .andThen((logged) => {
      const changed = whatChanged(stored, logged)
      return changed === null ? ok(logged) : err(changed)
    })
}

/** Verifies `redactions.ndjson`: some entries of a ledger, in order. @param see told of each that holds */
export async function verifyRedactions(
  body: AsyncIterable<Uint8Array>,
  see: (redaction: LoggedRedaction) => void,
): Promise<string | null> {
  let before: LoggedRedaction | null = null
  let bad: string | null = null
  for await (const { text, ended } of linesOf(body)) {
    if (bad !== null) continue
    const line = ended ? readLine(text) : 'the line is cut off or is no UTF-8'
    const read: Result<LoggedRedaction, string> =
      typeof line === 'string' ? err(line) : readRedaction(line)
    bad = read.isErr() ? read.error : outOfOrder(before, read.value)
    if (read.isErr() || bad !== null) continue
    before = read.value
    see(read.value)
  }
  return bad
}

/** Null where an entry can stand behind another. Entries of other runs may be left out in between. */
function outOfOrder(before: LoggedRedaction | null, { seq, meta }: LoggedRedaction): string | null {
  if (before === null) return null
  if (seq <= before.seq) return `entry ${seq} stands behind entry ${before.seq}`
  if (seq > before.seq + 1 || meta.prev_hash === before.meta.hash) return null
  return `the prev_hash of entry ${seq} is not the hash of the one before it`
}
