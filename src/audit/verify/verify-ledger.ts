import { err, ok, type Result } from 'neverthrow'
import { type LedgerName, ledgerStream } from '../../api/audit.ts'
import { decodeParsedAs } from '../../log/codec.ts'
import { type LoggedRedaction, REDACTIONS, Redaction } from '../../redaction/redaction-ledger.ts'
import { type LineFormat, linesOf, readLine } from '../bundle/record-lines.ts'
import { AnyEntry, LEDGER_START, type LedgerEnd } from '../ledgers.ts'
import { type BadRecord, misplaced, type StoredRecord, whatChanged } from './verify-run.ts'

/**
 * Verifies the next entry of a ledger. Pure: begin with LEDGER_START, and continue with each result, which is
 * the ledger as far as it is verified.
 */
export function verifyEntry(
  name: LedgerName,
  { length: seq, head }: LedgerEnd,
  entry: StoredRecord,
): Result<LedgerEnd, BadRecord> {
  const bad = (problem: BadRecord['problem'], message: string) => err({ problem, seq, message })
  const elsewhere = misplaced(entry.seq, seq)
  if (elsewhere !== null) return err(elsewhere)
  const place = { stream: ledgerStream(name), revision: seq }
  const decoded = decodeParsedAs(AnyEntry, place, entry.data, entry.metadata)
  if (decoded.isErr()) return bad('unreadable', decoded.error.message)
  const changed = whatChanged(entry, decoded.value)
  if (changed !== null) return bad('changed', changed)
  const { hash, prev_hash } = decoded.value.meta
  if (prev_hash !== head)
    return bad('unlinked', 'its prev_hash is not the hash of the one before it')
  return ok({ length: seq + 1, head: hash })
}

/** Verifies the lines of a ledger up to the first bad one. @param see gets each entry that holds */
export async function verifyLedgerLines(
  name: LedgerName,
  body: AsyncIterable<Uint8Array>,
  see: (seq: number, hash: string) => void,
): Promise<{ readonly end: LedgerEnd; readonly bad: BadRecord | null }> {
  let end = LEDGER_START
  for await (const text of linesOf(body)) {
    const line = readLine(text, 'checksummed')
    if (typeof line === 'string') {
      return { end, bad: { problem: 'changed', seq: end.length, message: line } }
    }
    const verified = verifyEntry(name, end, line)
    if (verified.isErr()) return { end, bad: verified.error }
    see(end.length, verified.value.head)
    end = verified.value
  }
  return { end, bad: null }
}

/** Reads an entry of the ledger of redactions whose hash is right, or says what is wrong with it. */
export function readRedaction(stored: StoredRecord): Result<LoggedRedaction, string> {
  const place = { stream: REDACTIONS.stream, revision: stored.seq }
  return decodeParsedAs(Redaction, place, stored.data, stored.metadata)
    .mapErr(({ message }) => message)
    .andThen((logged) => {
      const changed = whatChanged(stored, logged)
      return changed === null ? ok(logged) : err(changed)
    })
}

/**
 * Verifies `redactions.ndjson`: some entries of a ledger, in order.
 * @param see gets each entry that holds
 * @returns what is wrong; null if nothing is
 */
export async function verifyRedactions(
  body: AsyncIterable<Uint8Array>,
  format: LineFormat,
  see: (redaction: LoggedRedaction) => void,
): Promise<string | null> {
  let before: LoggedRedaction | null = null
  let bad: string | null = null
  for await (const text of linesOf(body)) {
    if (bad !== null) continue
    const line = readLine(text, format)
    const read: Result<LoggedRedaction, string> =
      typeof line === 'string' ? err(line) : readRedaction(line)
    bad = read.isErr() ? read.error : outOfOrder(before, read.value)
    if (read.isErr() || bad !== null) continue
    before = read.value
    see(read.value)
  }
  return bad
}

/** Null if an entry can follow another. Entries about other runs may be missing in between. */
function outOfOrder(before: LoggedRedaction | null, { seq, meta }: LoggedRedaction): string | null {
  if (before === null) return null
  if (seq <= before.seq) return `entry ${seq} follows entry ${before.seq}`
  if (seq > before.seq + 1 || meta.prev_hash === before.meta.hash) return null
  return `the prev_hash of entry ${seq} is not the hash of the one before it`
}
