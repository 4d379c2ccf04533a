import { err, ok, Result } from 'neverthrow'
import { LEDGERS, type LedgerName, ledgerStream, type UnsignedEntries } from '../api/audit.ts'
import {
  AnyEntry,
  isSignedLater,
  LEDGER_START,
  type LedgerEnd,
} from '../checkpoints/ledger-ends.ts'
import type { KnownKeys } from '../checkpoints/public-keys.ts'
import { AccessEntry } from '../domain/access.ts'
import { decodeAs, type Logged } from '../log/codec.ts'
import type { LoadError } from '../log/run-log.ts'
import { type StreamReader, streamPages } from '../log/stream-pages.ts'
import type { ReadError, RecordedEvent } from '../store/event-store.ts'
import { eventLine } from './stored-events.ts'
import { sealProblem } from './verify/redaction-check.ts'
import type { Finding } from './verify/report.ts'
import { type BadRecord, nextRecord, type StoredRecord } from './verify/verify-run.ts'

/** The ledger that a stream holds; null for another stream. */
export function ledgerOf(stream: string): LedgerName | null {
  return LEDGERS.find((name) => ledgerStream(name) === stream) ?? null
}

/** The name of a run or ledger in messages. @param id of a run, or the stream of a ledger */
export function subjectOf(id: string): string {
  const ledger = ledgerOf(id)
  return ledger === null ? `run ${id}` : `ledger ${ledger}`
}

/** Which entries, and in which direction. `after` is exclusive; without it, all. */
export type LedgerRange = {
  readonly after?: number | null | undefined
  readonly direction?: 'forward' | 'backward'
}

/** A ledger in pages, up to its end. */
export async function* ledgerPages(
  store: StreamReader,
  name: LedgerName,
  range: LedgerRange = {},
): AsyncGenerator<Result<readonly RecordedEvent[], ReadError>> {
  for await (const page of streamPages(store, ledgerStream(name), range)) {
    if (page.isErr() && page.error.type === 'stream_not_found') return
    yield page
  }
}

/** The entries of the access log in pages, up to the last one. */
export async function* readAccesses(
  store: StreamReader,
  options: LedgerRange,
): AsyncGenerator<Result<readonly Logged<AccessEntry>[], LoadError>> {
  for await (const page of ledgerPages(store, 'access', options)) {
    if (page.isErr()) {
      yield err(page.error)
      return
    }
    yield Result.combine(page.value.map((event) => decodeAs(AccessEntry, event)))
  }
}

/** The lines of a ledger, with checksums. @throws if the store cannot be read */
export async function* ledgerLines(store: StreamReader, name: LedgerName): AsyncGenerator<Buffer> {
  for await (const page of ledgerPages(store, name)) {
    if (page.isErr()) throw new Error(`a ledger cannot be read: ${JSON.stringify(page.error)}`)
    yield Buffer.from(page.value.map((event) => `${eventLine(event, 'checksummed')}\n`).join(''))
  }
}

/** A ledger as far as it is verified. */
export type VerifiedLedger = LedgerEnd & {
  /** How many of its first entries nobody has signed; null while no entry is signed. */
  readonly unsigned: number | null
  /** Up to which entry they are signed, exclusive. */
  readonly sealed: number
  /** The fingerprints of those who signed. */
  readonly keys: ReadonlySet<string>
  /** The first entry that does not hold. */
  readonly bad: BadRecord | null
}
const NOTHING_VERIFIED: VerifiedLedger = {
  ...{ ...LEDGER_START, unsigned: null, sealed: 0, keys: new Set(), bad: null },
}

/** By the name of a ledger: how many of its first entries are unsigned, and the keys that signed the others. */
export type LedgerSeals = Readonly<
  Record<string, { readonly unsigned: number; readonly keys: readonly string[] }>
>

/** Verifies the ledgers of a log, each up to its first bad entry. */
export class LedgersCheck {
  readonly #keys: KnownKeys
  readonly #ends = new Map<LedgerName, VerifiedLedger>()

  constructor(keys: KnownKeys) {
    this.#keys = keys
  }

  /** Takes the next entry, or what is wrong with its line. @returns the ledger up to it; null if it does not hold */
  take(name: LedgerName, stored: StoredRecord | string): VerifiedLedger | null {
    const end = this.#endOf(name)
    this.#ends.set(name, end)
    if (end.bad !== null) return null
    const verified: Result<VerifiedLedger, BadRecord> =
      typeof stored === 'string'
        ? err({ problem: 'changed', seq: end.length, message: stored })
        : this.#next(name, end, stored)
    const after = verified.match(
      (ledger) => ledger,
      (bad) => ({ ...end, bad }),
    )
    this.#ends.set(name, after)
    return verified.unwrapOr(null)
  }

  #next(
    name: LedgerName,
    ledger: VerifiedLedger,
    stored: StoredRecord,
  ): Result<VerifiedLedger, BadRecord> {
    const { length: seq, head, sealed } = ledger
    const entry = nextRecord(stored, { seq: seq - 1, head }, ledgerStream(name), AnyEntry)
    if (entry.isErr()) return err(entry.error)
    const { hash, seal } = entry.value.meta
    const after = { ...ledger, length: seq + 1, head: hash }
    if (seal === undefined) return ok(after)
    const wrong = sealProblem(name, entry.value, this.#keys)
    if (wrong !== null) return err({ problem: 'signature', seq, message: wrong })
    const { first, key } = seal
    if (ledger.unsigned !== null && first !== sealed) return err(notSigned(sealed))
    const keys = ledger.keys.has(key) ? ledger.keys : new Set([...ledger.keys, key])
    return ok({ ...after, unsigned: ledger.unsigned ?? first, sealed: seq + 1, keys })
  }

  #endOf(name: LedgerName): VerifiedLedger {
    return this.#ends.get(name) ?? NOTHING_VERIFIED
  }

  /** How many entries of a ledger hold. */
  lengthOf(name: LedgerName): number {
    return this.#endOf(name).length
  }

  isBad(name: LedgerName): boolean {
    return this.#endOf(name).bad !== null
  }

  /** @param unsigned how many entries are of an earlier version, by the checkpoints */
  report(unsigned: UnsignedEntries | undefined) {
    const lengths: Record<string, number> = {}
    const seals: Record<string, LedgerSeals[string]> = {}
    const findings: Finding[] = []
    for (const [name, end] of this.#ends) {
      lengths[name] = end.length
      seals[name] = { unsigned: end.unsigned ?? end.length, keys: [...end.keys] }
      const bad = end.bad ?? unsignedEntry(end, isSignedLater(name) ? unsigned?.[name] : 0)
      if (bad !== null) findings.push({ ...bad, where: `ledger ${name}` })
    }
    return { lengths, seals, findings }
  }
}

/**
 * The first entry that must be signed and is not. Those before the first signed one are of an earlier version.
 * @param most how many of these there can be, by the checkpoints
 */
function unsignedEntry(
  { length, unsigned, sealed }: VerifiedLedger,
  most = Number.POSITIVE_INFINITY,
): BadRecord | null {
  if (unsigned !== null && sealed < length) return notSigned(sealed)
  return (unsigned ?? length) > most ? notSigned(most) : null
}

const notSigned = (seq: number): BadRecord => {
  const message = 'nobody has signed it, and the servers of this log signed before: it is forged'
  return { problem: 'signature', seq, message }
}
