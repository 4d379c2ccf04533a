import { err, type Result } from 'neverthrow'
import { type LedgerName, ledgerStream } from '../../api/audit.ts'
import { hasSigned, type KnownKeys } from '../../checkpoints/public-keys.ts'
import type { Logged } from '../../log/chain.ts'
import { sealedText } from '../../log/chain.ts'
import { REDACTION_STREAM, Redaction } from '../../redaction/redaction.ts'
import { REDACTIONS_FILE } from '../bundle/bundle-format.ts'
import { type LineFormat, linesOf, readLine } from '../bundle/record-lines.ts'
import type { Finding, RedactionReport, ReportedRedaction } from './report.ts'
import { readStored, type StoredRecord } from './verify-run.ts'

/** Compares the redactions that are recorded with those that were carried out. Their order does not matter. */
export class RedactionCheck {
  /** Commitments to the redacted strings, by run, seq and pointer. */
  readonly #redacted = new Map<
    string,
    { readonly place: StringPlace; readonly commitment: string }
  >()
  /** The entries of the ledger that hold. */
  readonly entries: Logged<Redaction>[] = []

  /** Notes a record that holds. */
  see({ seq, record, meta }: Logged<{ readonly run_id: string }>): void {
    if (!('redacted' in meta)) return
    for (const [pointer, commitment] of Object.entries(meta.redacted)) {
      const place = { runId: record.run_id, seq, pointer }
      this.#redacted.set(keyOf(place), { place, commitment })
    }
  }

  /** Notes an entry of the ledger that holds. */
  add(redaction: Logged<Redaction>): void {
    this.entries.push(redaction)
  }

  /** The place in the ledger of the last redaction that nobody has signed; -1 if all are signed. */
  get lastUnsigned(): number {
    return this.entries.findLast(({ meta }) => meta.seal === undefined)?.seq ?? -1
  }

  /** The keys that signed redactions. */
  get keys(): readonly string[] {
    return this.entries.flatMap(({ meta }) => meta.seal?.key ?? [])
  }

  /** What is recorded about packs: which objects were removed, what is left of packs, and of which runs an import has not all. */
  get packs(): Record<'removed' | 'left' | 'absent', ReadonlySet<string>> {
    const payloads = this.entries.map(({ record }) => record.payload)
    return {
      removed: new Set(payloads.flatMap(({ objects = [] }) => objects)),
      left: new Set(payloads.flatMap(({ replaced_by }) => replaced_by ?? [])),
      absent: new Set(payloads.flatMap(({ absent, run_id }) => (absent ? run_id : []))),
    }
  }

  /** Whether a redaction of any run deleted this artifact, or an import did not bring it. */
  hasDeleted(artifact: string): boolean {
    return this.entries.some(({ record }) => record.payload.artifact === artifact)
  }

  /**
   * Strings that were redacted without a recorded redaction, and recorded redactions that were not carried out.
   * @param lengthOf how many records of a run hold; later records are not compared
   */
  findings(lengthOf: (runId: string) => number): RedactionFinding[] {
    const recorded = new Map<string, Set<string>>()
    const found: RedactionFinding[] = []
    for (const { record } of this.entries) {
      const { run_id: runId, seq, redacted } = record.payload
      for (const [pointer, commitment] of Object.entries(redacted)) {
        const key = keyOf({ runId, seq, pointer })
        recorded.set(key, (recorded.get(key) ?? new Set()).add(commitment))
        if (seq >= lengthOf(runId) || this.#redacted.get(key)?.commitment === commitment) continue
        const message = `a redaction of ${pointer} is recorded, and the record does not have its commitment there`
        found.push({ runId, problem: 'redaction', where: REDACTIONS_FILE, seq, message })
      }
    }
    for (const [key, { place, commitment }] of this.#redacted) {
      if (recorded.get(key)?.has(commitment) === true) continue
      const message = `${place.pointer} was redacted, and no redaction of it is recorded`
      const { runId, seq } = place
      found.push({ runId, problem: 'redaction', where: null, seq, message })
    }
    return found
  }

  report(): RedactionReport {
    const places = [...this.#redacted.values()].map(({ place }) => place)
    const records = new Set(places.map(({ runId, seq }) => `${runId}/${seq}`)).size
    const redactions = this.entries.filter(({ record }) => !record.payload.absent).map(reported)
    const artifacts = new Set(redactions.flatMap(({ artifact }) => artifact ?? [])).size
    return { strings: places.length, records, artifacts, redactions }
  }
}

type StringPlace = { readonly runId: string; readonly seq: number; readonly pointer: string }
type RedactionFinding = Pick<Finding, 'problem' | 'message'> & {
  readonly runId: string
  /** The part of an export that it is about; null for the part with the record. */
  readonly where: string | null
  readonly seq: number
}

const keyOf = ({ runId, seq, pointer }: StringPlace): string => `${runId}/${seq}${pointer}`

/** An imported redaction is reported as it was made in the other log. */
function reported({ seq: entry, record, meta }: Logged<Redaction>): ReportedRedaction {
  const { run_id, seq, redacted, artifact = null, reason, origin } = record.payload
  const { ts } = origin ?? record
  const principal = (origin ?? meta).principal ?? null
  const key = meta.seal?.key ?? null
  const pointers = Object.keys(redacted)
  return { entry, key, run_id, seq, pointers, artifact, reason, principal, ts }
}

/** Reads an entry of the ledger of redactions by itself. The error is a sentence without its point. */
const readRedaction = (stored: StoredRecord): Result<Logged<Redaction>, string> =>
  readStored(stored, REDACTION_STREAM, Redaction).mapErr(({ message }) => message)

/** What is wrong with the signature of an entry; null if nothing is, or the entry has none. */
export function sealProblem(
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
 * Verifies `redactions.ndjson`: some entries of a ledger, in order.
 * @param see gets each entry that holds
 * @returns what is wrong; null if nothing is
 */
export async function verifyRedactions(
  body: AsyncIterable<Uint8Array>,
  format: LineFormat,
  known: KnownKeys,
  see: (redaction: Logged<Redaction>) => void,
): Promise<string | null> {
  let before: Logged<Redaction> | null = null
  let bad: string | null = null
  for await (const texts of linesOf(body)) {
    for (const text of texts) {
      if (bad !== null) continue
      const line = readLine(text, format)
      const read = typeof line === 'string' ? err(line) : readRedaction(line)
      bad = read.isErr()
        ? read.error
        : (outOfOrder(before, read.value) ?? sealProblem('redactions', read.value, known))
      if (read.isErr() || bad !== null) continue
      before = read.value
      see(read.value)
    }
  }
  return bad
}

/** Null if an entry can follow another. Entries about other runs may be missing in between. */
function outOfOrder(
  before: Logged<Redaction> | null,
  { seq, meta }: Logged<Redaction>,
): string | null {
  if (before === null) return null
  if (seq <= before.seq) return `entry ${seq} follows entry ${before.seq}`
  if (seq > before.seq + 1 || meta.prev_hash === before.meta.hash) return null
  return `the prev_hash of entry ${seq} is not the hash of the one before it`
}
