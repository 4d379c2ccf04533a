import { err, ok, type Result } from 'neverthrow'
import { type LedgerName, ledgerStream } from '../../api/audit.ts'
import { decodeParsedAs, type Logged } from '../../log/codec.ts'
import { sealedText } from '../../log/entry-seal.ts'
import { type LoggedRedaction, REDACTIONS, Redaction } from '../../redaction/redaction-ledger.ts'
import { type LineFormat, linesOf, readLine } from '../bundle/record-lines.ts'
import { AnyEntry, LEDGER_START, type LedgerEnd } from '../ledgers.ts'
import { hasSigned, type KnownKeys } from '../proofs/public-keys.ts'
import type { Finding, LedgerSeals } from './report.ts'
import { misplaced, type StoredRecord, whatChanged } from './verify-run.ts'

/** A ledger as far as it is verified. */
export type VerifiedLedger = LedgerEnd & {
  /** How many of its first entries nobody has signed; null while no entry is signed. */
  readonly unsigned: number | null
  /** Up to which entry they are signed, exclusive. */
  readonly sealed: number
  /** The fingerprints of those who signed. */
  readonly keys: ReadonlySet<string>
}
export const NOTHING_VERIFIED: VerifiedLedger = {
  ...{ ...LEDGER_START, unsigned: null, sealed: 0, keys: new Set() },
}

/** The first entry of a ledger that does not hold. */
export type BadEntry = Pick<Finding, 'problem' | 'message'> & { readonly seq: number }

/**
 * Verifies the next entry of a ledger. Pure: begin with NOTHING_VERIFIED, and continue with each result. Ask
 * `unsignedEntry` at the end.
 */
export function verifyEntry(
  name: LedgerName,
  ledger: VerifiedLedger,
  entry: StoredRecord,
  known: KnownKeys,
): Result<VerifiedLedger, BadEntry> {
  const { length: seq, head, sealed } = ledger
  const bad = (problem: Finding['problem'], message: string) => err({ problem, seq, message })
  const elsewhere = misplaced(entry.seq, seq)
  if (elsewhere !== null) return err(elsewhere)
  const place = { stream: ledgerStream(name), revision: seq }
  const decoded = decodeParsedAs(AnyEntry, place, entry.data, entry.metadata)
  if (decoded.isErr()) return bad('unreadable', decoded.error.message)
  const changed = whatChanged(entry, decoded.value)
  if (changed !== null) return bad('changed', changed)
  const { hash, prev_hash, seal } = decoded.value.meta
  if (prev_hash !== head)
    return bad('unlinked', 'its prev_hash is not the hash of the one before it')
  const after = { ...ledger, length: seq + 1, head: hash }
  if (seal === undefined) return ok(after)
  const wrong = sealProblem(name, decoded.value, known)
  if (wrong !== null) return bad('signature', wrong)
  const { first, key } = seal
  if (ledger.unsigned !== null && first !== sealed) return err(notSigned(sealed))
  const keys = ledger.keys.has(key) ? ledger.keys : new Set([...ledger.keys, key])
  return ok({ ...after, unsigned: ledger.unsigned ?? first, sealed: seq + 1, keys })
}

/** What is wrong with the signature of an entry; null if nothing is, or the entry has none. */
function sealProblem(
  name: LedgerName,
  { seq, meta: { hash, seal } }: Pick<Logged<unknown>, 'seq' | 'meta'>,
  known: KnownKeys,
): string | null {
  if (seal === undefined) return null
  const key = known.get(seal.key)
  if (key === undefined) {
    return `the key ${seal.key} is not published, so its signature cannot be verified`
  }
  if (!hasSigned(key, sealedText(ledgerStream(name), hash, seal), seal.signature)) {
    return `its signature is not from the key ${seal.key}`
  }
  const isAlone = seal.first === seq
  return isAlone || (name === 'access' && seal.first < seq)
    ? null
    : `its signature begins with entry ${seal.first}`
}

/**
 * The first entry that must be signed and is not. Those before the first signed one are of an earlier version.
 * @param most how many of these there can be, by the checkpoints
 */
export function unsignedEntry(
  { length, unsigned, sealed }: VerifiedLedger,
  most = Number.POSITIVE_INFINITY,
): BadEntry | null {
  if (unsigned !== null && sealed < length) return notSigned(sealed)
  return (unsigned ?? length) > most ? notSigned(most) : null
}

export const sealsOf = (ledgers: Iterable<readonly [string, VerifiedLedger]>): LedgerSeals =>
  Object.fromEntries(
    [...ledgers].map(([name, { length, unsigned, keys }]) => {
      return [name, { unsigned: unsigned ?? length, keys: [...keys] }]
    }),
  )

const notSigned = (seq: number): BadEntry => {
  const message = 'nobody has signed it, and the servers of this log signed before: it is forged'
  return { problem: 'signature', seq, message }
}

/** Verifies the lines of a ledger up to the first bad one. @param see gets each entry that holds */
export async function verifyLedgerLines(
  name: LedgerName,
  body: AsyncIterable<Uint8Array>,
  known: KnownKeys,
  see: (seq: number, hash: string) => void,
): Promise<{ readonly end: VerifiedLedger; readonly bad: BadEntry | null }> {
  let end = NOTHING_VERIFIED
  for await (const text of linesOf(body)) {
    const line = readLine(text, 'checksummed')
    if (typeof line === 'string') {
      return { end, bad: { problem: 'changed', seq: end.length, message: line } }
    }
    const verified = verifyEntry(name, end, line, known)
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
  known: KnownKeys,
  see: (redaction: LoggedRedaction) => void,
): Promise<string | null> {
  let before: LoggedRedaction | null = null
  let bad: string | null = null
  for await (const text of linesOf(body)) {
    if (bad !== null) continue
    const line = readLine(text, format)
    const read: Result<LoggedRedaction, string> =
      typeof line === 'string' ? err(line) : readRedaction(line)
    bad = read.isErr()
      ? read.error
      : (outOfOrder(before, read.value) ?? sealProblem('redactions', read.value, known))
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
