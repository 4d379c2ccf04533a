import { err, ok, type Result } from 'neverthrow'
import { type LedgerName, ledgerStream } from '../../api/audit.ts'
import { decodeParsedAs } from '../../log/codec.ts'
import { linesOf } from '../bundle/lines.ts'
import { readLine } from '../bundle/record-line.ts'
import { AnyEntry, LEDGER_START, type LedgerEnd } from '../ledgers.ts'
import { type BadRecord, misplaced, type StoredRecord, whatChanged } from './verify-run.ts'

/**
 * Verifies the next entry of a ledger. Pure: begin with LEDGER_START, and go on with each result, which is
 * what has been verified up to there.
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

/** Verifies the lines of a ledger up to the first bad one. @param see told of each that holds */
export async function verifyLedgerLines(
  name: LedgerName,
  body: AsyncIterable<Uint8Array>,
  see: (seq: number, hash: string) => void,
): Promise<{ readonly end: LedgerEnd; readonly bad: BadRecord | null }> {
  let end = LEDGER_START
  for await (const { text, ended } of linesOf(body)) {
    const line = ended ? readLine(text) : 'the line is cut off or is no UTF-8'
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
