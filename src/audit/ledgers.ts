import { err, Result } from 'neverthrow'
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
type VerifiedLedger = { -readonly [K in keyof LedgerEnd]: LedgerEnd[K] } & {
  /** How many of its first entries nobody has signed; null while no entry is signed. */
  unsigned: number | null
  /** Up to which entry they are signed, exclusive. */
  sealed: number
  /** The fingerprints of those who signed. */
  readonly keys: Set<string>
  /** The first entry that does not hold. */
  bad: BadRecord | null
}

/** By the name of a ledger: how many of its first entries are unsigned, and the keys that signed the others. */
export type LedgerSeals = Readonly<
  Record<string, { readonly unsigned: number; readonly keys: readonly string[] }>
>

/** Verifies the ledgers of a log, each up to its first bad entry. */
export class LedgersCheck {
  readonly #keys: KnownKeys
  readonly #ledgers = new Map<LedgerName, VerifiedLedger>()

  constructor(keys: KnownKeys) {
    this.#keys = keys
  }

  /** Takes the next entry, or what is wrong with its line. @returns the end of the ledger; null if it does not hold */
  take(name: LedgerName, stored: StoredRecord | string): LedgerEnd | null {
    const ledger = this.#ledgers.get(name) ?? {
      ...LEDGER_START,
      unsigned: null,
      sealed: 0,
      keys: new Set(),
      bad: null,
    }
    this.#ledgers.set(name, ledger)
    if (ledger.bad !== null) return null
    ledger.bad =
      typeof stored === 'string'
        ? { problem: 'changed', seq: ledger.length, message: stored }
        : this.#add(name, ledger, stored)
    return ledger.bad === null ? ledger : null
  }

  /** @returns what is wrong with an entry; null if it is added */
  #add(name: LedgerName, ledger: VerifiedLedger, stored: StoredRecord): BadRecord | null {
    const { length: seq, head } = ledger
    const entry = nextRecord(stored, { seq: seq - 1, head }, ledgerStream(name), AnyEntry)
    if (entry.isErr()) return entry.error
    const { hash, seal } = entry.value.meta
    if (seal !== undefined) {
      const wrong = sealProblem(name, entry.value, this.#keys)
      if (wrong !== null) return { problem: 'signature', seq, message: wrong }
      if (ledger.unsigned !== null && seal.first !== ledger.sealed) return notSigned(ledger.sealed)
      ledger.unsigned ??= seal.first
      ledger.sealed = seq + 1
      ledger.keys.add(seal.key)
    }
    ledger.length = seq + 1
    ledger.head = hash
    return null
  }

  /** How many entries of a ledger hold. */
  lengthOf(name: LedgerName): number {
    return this.#ledgers.get(name)?.length ?? 0
  }

  isBad(name: LedgerName): boolean {
    return (this.#ledgers.get(name)?.bad ?? null) !== null
  }

  /** @param unsigned how many entries are of an earlier version, by the checkpoints */
  report(unsigned: UnsignedEntries | undefined) {
    const lengths: Record<string, number> = {}
    const seals: Record<string, LedgerSeals[string]> = {}
    const findings: Finding[] = []
    for (const [name, end] of this.#ledgers) {
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
