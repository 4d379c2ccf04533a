import type { Origin } from '../../domain/origin.ts'
import type { FamilyReport } from './report.ts'
import type { VerifiedRecord } from './verify-run.ts'

export type RecordPlace = { readonly runId: string; readonly seq: number }
/** A record that names another run. `created` is when the store took it, in milliseconds since the epoch. */
export type Claim = RecordPlace & { readonly created: number }

/** What is wrong with a record, or why it was not compared (null): a part of a sentence. */
export type Judgement = {
  readonly problem: 'missing' | 'family' | null
  readonly message: string
} | null

export const wrong = (message: string): Judgement => ({ problem: 'family', message })

/** Compares what runs name as the records from which they begin with these records. */
export class OriginCheck {
  /** By run. */
  readonly #claims = new Map<string, Claim & { readonly origin: Origin }>()
  /** Of all records, because any may be named by a run that is seen later. */
  readonly #hashes = new Map<string, string[]>()
  /** The seq of the first record of a run that has a redacted text. */
  readonly #redacted = new Map<string, number>()

  /** Notes a record that holds. */
  see({ record, meta }: VerifiedRecord, claim: Claim): void {
    const { runId, seq } = claim
    const hashes = this.#hashes.get(runId) ?? []
    this.#hashes.set(runId, hashes)
    hashes.push(packed(meta.hash))
    if ('redacted' in meta && !this.#redacted.has(runId)) this.#redacted.set(runId, seq)
    const origin = record.kind === 'run_created' ? record.payload.origin : undefined
    if (origin !== undefined) this.#claims.set(runId, { ...claim, origin })
  }

  /** Whether a run that was seen begins from another one. */
  has(runId: string): boolean {
    return this.#claims.has(runId)
  }

  /**
   * @param absence why a record of another run cannot be compared; null if it can
   * @param take gets the judgement about the first record of a run
   */
  judge(
    absence: (claim: Claim, other: RecordPlace, what: string) => Judgement,
    take: (claim: Claim, about: string, judgement: Judgement) => void,
  ): Pick<FamilyReport, 'origins'> {
    const good = [...this.#claims.values()].filter(({ origin, ...claim }) => {
      const other = { runId: origin.run_id, seq: origin.seq }
      const what = `from whose record ${origin.seq} it begins`
      const judgement = absence(claim, other, what) ?? this.#judge(origin)
      take(claim, claim.runId, judgement)
      return judgement === null
    })
    if (good.length === 0) return {}
    const redacted = good.filter(({ origin: { run_id, seq } }) => {
      return (this.#redacted.get(run_id) ?? Number.POSITIVE_INFINITY) <= seq
    })
    return { origins: { compared: good.length, redacted: redacted.length } }
  }

  #judge({ run_id: runId, seq, hash }: Origin): Judgement {
    const hashes = this.#hashes.get(runId) ?? []
    const place = `it begins from record ${seq} of run ${runId}`
    if (seq >= hashes.length) return wrong(`${place}, which has ${hashes.length} records`)
    return hashes[seq] === packed(hash) ? null : wrong(`${place}, which has another hash there`)
  }
}

/** A hash in hex, in half the memory. */
const packed = (hash: string): string => Buffer.from(hash, 'hex').toString('latin1')
