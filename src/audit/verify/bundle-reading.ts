import type { z } from 'zod'
import { PublishedKeys, RunProof } from '../../api/audit.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { LoggedRedaction } from '../../redaction/redaction-ledger.ts'
import {
  ARTIFACTS,
  type BundlePart,
  FIXED_PARTS,
  KEYS,
  MANIFEST,
  PROOF,
  RECORDS,
  REDACTIONS_FILE,
} from '../bundle/bundle-format.ts'
import { Counted } from '../bundle/counted.ts'
import { canonicalJson } from '../proofs/canonical.ts'
import { type KnownKeys, knownKeys } from '../proofs/public-keys.ts'
import { Manifest } from '../proofs/statements.ts'
import { RedactionCheck } from './redaction-check.ts'
import type { Finding } from './report.ts'
import { CutOff, type SeeRecord, type VerifiedRecords, verifyRecords } from './verify-records.ts'
import { verifyRedactions } from './verify-redactions.ts'

/** Who wants to see what is read. */
export type Onlookers = {
  /** Sees each record that holds, in order. */
  readonly onRecord?: SeeRecord
  /** Sees each recorded redaction that holds, in order, before any record. */
  readonly onRedaction?: (redaction: LoggedRedaction) => void
}

/** What was read of an export; a part that is missing or cannot be read is null. */
export type BundleContents = {
  /** The paths of all parts, in the order they came. */
  readonly paths: readonly string[]
  /** Those of the archive, and those that the reader trusts, which go before. */
  readonly keys: KnownKeys
  readonly manifest: Manifest | null
  readonly proof: RunProof | null
  readonly records: VerifiedRecords | null
  readonly redactions: RedactionCheck
  /** How many artifacts are what their names say. */
  readonly artifacts: number
  /** Why the archive ended early, and the record whose artifact was being read then. */
  readonly broken: Pick<Finding, 'seq' | 'message'> | null
  /** What is wrong with single parts. */
  readonly findings: readonly Finding[]
}

/** Reads an export part by part, and checks each by itself. */
export class BundleReading {
  readonly #trusted: KnownKeys
  readonly #onlookers: Onlookers
  readonly #findings: Finding[] = []
  readonly #paths: string[] = []
  readonly #redactions = new RedactionCheck()
  /** The part under way. */
  #reading: string | null = null
  #keys: KnownKeys
  #manifest: Manifest | null = null
  #proof: RunProof | null = null
  #records: VerifiedRecords | null = null
  #artifacts = 0
  #broken: BundleContents['broken'] = null

  /** @param trusted keys that the reader need not take from the archive */
  constructor(trusted: KnownKeys, onlookers: Onlookers) {
    this.#trusted = trusted
    this.#onlookers = onlookers
    this.#keys = trusted
  }

  get contents(): BundleContents {
    return {
      paths: this.#paths,
      keys: this.#keys,
      manifest: this.#manifest,
      proof: this.#proof,
      records: this.#records,
      redactions: this.#redactions,
      artifacts: this.#artifacts,
      broken: this.#broken,
      findings: this.#findings,
    }
  }

  async take(part: BundlePart): Promise<void> {
    const expected = this.#expected(this.#paths.length)
    this.#paths.push(part.path)
    if (expected !== part.path) {
      const message = `it stands where ${expected ?? 'nothing'} is expected`
      this.#find({ problem: 'unexpected', where: part.path, message })
    }
    this.#compareTime(part)
    const counted = new Counted(part.body)
    this.#reading = part.path
    await this.#read(part.path, counted)
    await counted.drain()
    this.#reading = null
    this.#compare(part.path, counted)
  }

  async #read(path: string, body: Counted): Promise<void> {
    if (path === RECORDS) await this.#readRecords(body)
    else if (path === REDACTIONS_FILE) await this.#readRedactions(body)
    else if (path.startsWith(ARTIFACTS)) await this.#readArtifact(path, body)
    else if (path === MANIFEST) this.#manifest = await this.#statement(path, body, Manifest)
    else if (path === PROOF) this.#proof = await this.#statement(path, body, RunProof)
    else if (path === KEYS) this.#takeKeys(await this.#statement(path, body, PublishedKeys))
  }

  /** Null for a part that does not belong into an export. */
  #expected(index: number): string | null {
    if (index === 0) return MANIFEST
    const listed = this.#manifest?.parts[index - 1]?.path
    return listed ?? FIXED_PARTS[index - 1] ?? null
  }

  async #statement<T extends object>(
    path: string,
    body: Counted,
    schema: z.ZodType<T>,
  ): Promise<T | null> {
    const text = await body.text()
    const value = jsonOf(text)
    const parsed = schema.safeParse(value)
    if (parsed.success && `${canonicalJson(parsed.data)}\n` === text) return parsed.data
    const message = parsed.success
      ? 'it is not written in canonical form'
      : `it cannot be read: ${parsed.error.issues[0]?.message ?? 'no JSON'}`
    this.#find({ problem: 'changed', where: path, message })
    return null
  }

  #takeKeys(published: PublishedKeys | null): void {
    if (published === null) return
    try {
      this.#keys = new Map([...knownKeys(published), ...this.#trusted])
    } catch (cause) {
      const message = messageOf(cause)
      this.#find({ problem: 'changed', where: KEYS, message })
    }
  }

  async #readRecords(body: Counted): Promise<void> {
    const runId = this.#proof?.run_id ?? this.#manifest?.run_id
    if (runId === undefined) return
    try {
      this.#records = await verifyRecords(runId, body, async (line, logged) => {
        this.#redactions.see(logged)
        await this.#onlookers.onRecord?.(line, logged)
      })
    } catch (cause) {
      if (!(cause instanceof CutOff)) throw cause
      this.#records = cause.verified
      throw cause
    }
  }

  async #readRedactions(body: Counted): Promise<void> {
    const message = await verifyRedactions(body, (redaction) => {
      this.#redactions.add(redaction)
      this.#onlookers.onRedaction?.(redaction)
    })
    if (message !== null) this.#find({ problem: 'changed', where: REDACTIONS_FILE, message })
  }

  async #readArtifact(path: string, body: Counted): Promise<void> {
    await body.drain()
    const name = path.slice(ARTIFACTS.length)
    const seq = namedBy(path, this.#records)
    if (seq === null && this.#records?.bad === null) {
      this.#find({ problem: 'unexpected', where: path, message: 'no record names it' })
    }
    if (body.sha256 !== name) {
      const message = `its contents have the SHA-256 ${body.sha256}`
      this.#find({ problem: 'changed', where: path, seq, message })
    } else this.#artifacts += 1
  }

  #compare(path: string, { bytes, sha256 }: Counted): void {
    const listed = this.#manifest?.parts.find((part) => part.path === path)
    if (listed === undefined || (listed.bytes === bytes && listed.sha256 === sha256)) return
    const message = `it has ${bytes} bytes and the SHA-256 ${sha256}; the manifest says ${listed.bytes} and ${listed.sha256}`
    this.#find({ problem: 'changed', where: path, message })
  }

  /** All parts are packed when the manifest says that the run was exported. */
  #compareTime({ path, mtime }: BundlePart): void {
    if (mtime === undefined || this.#manifest === null) return
    const { exported_at } = this.#manifest
    if (mtime === Math.floor(Date.parse(exported_at) / 1000)) return
    const message = `it was not packed when the manifest says that the run was exported, ${exported_at}`
    this.#find({ problem: 'changed', where: path, message })
  }

  /** No further part can be read. */
  brokenOff(cause: unknown): void {
    const message = messageOf(cause)
    this.#broken = {
      seq: this.#reading === null ? null : namedBy(this.#reading, this.#records),
      message,
    }
  }

  #find({ seq = null, ...finding }: Omit<Finding, 'seq'> & { readonly seq?: number | null }): void {
    this.#findings.push({ ...finding, seq })
  }
}

/** The record that names an artifact, by its path; null for all else. */
export function namedBy(path: string, records: VerifiedRecords | null): number | null {
  return records?.artifacts.get(path.slice(ARTIFACTS.length)) ?? null
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
