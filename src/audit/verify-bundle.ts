import type { z } from 'zod'
import type { LoggedRedaction } from '../store/redaction-ledger.ts'
import {
  ARTIFACTS,
  type BundlePart,
  FIXED_PARTS,
  KEYS,
  MANIFEST,
  PROOF,
  RECORDS,
  REDACTIONS_FILE,
} from './bundle-format.ts'
import { canonicalJson } from './canonical.ts'
import { Counted } from './counted.ts'
import { type KnownKeys, knownKeys, PublishedKeys } from './public-keys.ts'
import { RedactionCheck } from './redaction-check.ts'
import type { BundleReport, Finding, Trust } from './report.ts'
import { checkSeal, Manifest, RunProof, type Sealed } from './statements.ts'
import { hasAnchors, isTrusted, NO_ANCHORS, type TrustAnchors } from './trust-anchors.ts'
import { CutOff, type SeeRecord, type VerifiedRecords, verifyRecords } from './verify-records.ts'
import { verifyRedactions } from './verify-redactions.ts'

export type VerifyOptions = {
  /** What the reader trusts; without any, the keys of the archive itself are used. */
  readonly anchors?: TrustAnchors
  /** Sees each record that holds, in order. */
  readonly onRecord?: SeeRecord
  /** Sees each recorded redaction that holds, in order, before any record. */
  readonly onRedaction?: (redaction: LoggedRedaction) => void
}

/** Verifies an export, part by part, at constant memory. */
export async function verifyBundle(
  parts: AsyncIterable<BundlePart>,
  { anchors = NO_ANCHORS, ...see }: VerifyOptions = {},
): Promise<BundleReport> {
  const check = new BundleCheck(anchors, see)
  try {
    for await (const part of parts) await check.take(part)
  } catch (cause) {
    check.brokenOff(cause)
  }
  return check.finish()
}

class BundleCheck {
  readonly #anchors: TrustAnchors
  readonly #onRecord: SeeRecord | undefined
  readonly #onRedaction: VerifyOptions['onRedaction']
  readonly #findings: Finding[] = []
  readonly #seen: string[] = []
  #reading: string | null = null
  readonly #redactions = new RedactionCheck()
  /** What the reader need not take from the archive. */
  #keys: KnownKeys
  #manifest: Manifest | null = null
  #proof: RunProof | null = null
  #records: VerifiedRecords | null = null
  #artifacts = 0
  /** What broke off, and the record whose artifact was being read then. */
  #broken: Pick<Finding, 'seq' | 'message'> | null = null

  constructor(
    anchors: TrustAnchors,
    { onRecord, onRedaction }: Pick<VerifyOptions, 'onRecord' | 'onRedaction'>,
  ) {
    this.#anchors = anchors
    this.#onRecord = onRecord
    this.#onRedaction = onRedaction
    this.#keys = anchors.keys
  }

  async take(part: BundlePart): Promise<void> {
    const expected = this.#expected(this.#seen.length)
    this.#seen.push(part.path)
    if (expected !== part.path) {
      const message = `it stands where ${expected ?? 'nothing'} is expected`
      this.#find({ problem: 'unexpected', where: part.path, message })
    }
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
      this.#keys = new Map([...knownKeys(published), ...this.#anchors.keys])
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause)
      this.#find({ problem: 'changed', where: KEYS, message })
    }
  }

  async #readRecords(body: Counted): Promise<void> {
    const runId = this.#proof?.run_id ?? this.#manifest?.run_id
    if (runId === undefined) return
    try {
      this.#records = await verifyRecords(runId, body, async (line, logged) => {
        this.#redactions.see(logged)
        await this.#onRecord?.(line, logged)
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
      this.#onRedaction?.(redaction)
    })
    if (message !== null) this.#find({ problem: 'changed', where: REDACTIONS_FILE, message })
  }

  async #readArtifact(path: string, body: Counted): Promise<void> {
    await body.drain()
    const name = path.slice(ARTIFACTS.length)
    const seq = this.#namedBy(path)
    if (seq === null && this.#records?.bad === null) {
      this.#find({ problem: 'unexpected', where: path, message: 'no record names it' })
    }
    if (body.sha256 !== name) {
      const message = `its contents have the SHA-256 ${body.sha256}`
      this.#find({ problem: 'changed', where: path, seq, message })
    } else this.#artifacts += 1
  }

  /** The record that names an artifact, by its path; null for all else. */
  #namedBy(path: string): number | null {
    return this.#records?.artifacts.get(path.slice(ARTIFACTS.length)) ?? null
  }

  #compare(path: string, { bytes, sha256 }: Counted): void {
    const listed = this.#manifest?.parts.find((part) => part.path === path)
    if (listed === undefined || (listed.bytes === bytes && listed.sha256 === sha256)) return
    const message = `it has ${bytes} bytes and the SHA-256 ${sha256}; the manifest says ${listed.bytes} and ${listed.sha256}`
    this.#find({ problem: 'changed', where: path, message })
  }

  brokenOff(cause: unknown): void {
    const message = cause instanceof Error ? cause.message : String(cause)
    this.#broken = { seq: this.#reading === null ? null : this.#namedBy(this.#reading), message }
  }

  finish(): BundleReport {
    this.#checkParts()
    this.#checkSeals()
    this.#checkRecords()
    this.#checkArtifacts()
    this.#checkRedactions()
    const [manifest, proof, records] = [this.#manifest, this.#proof, this.#records]
    const { run = null } = records ?? {}
    const bad = this.#findings.flatMap(({ seq }) => (seq === null ? [] : [seq]))
    return {
      holds: this.#findings.length === 0,
      trust: this.#trust(),
      run_id: proof?.run_id ?? manifest?.run_id ?? null,
      verified: run === null ? 0 : run.state.seq + 1,
      signed: proof?.length ?? null,
      complete: run?.state.phase.type === 'ended',
      head: run?.head ?? null,
      key: proof?.key ?? null,
      signed_at: proof?.signed_at ?? null,
      artifacts: this.#artifacts,
      redacted: this.#redactions.report(),
      first_bad_seq: bad.length === 0 ? null : Math.min(...bad),
      findings: this.#findings,
    }
  }

  #checkParts(): void {
    if (this.#broken !== null) {
      this.#find({ problem: 'incomplete', where: 'archive', ...this.#broken })
    }
    const wanted = this.#manifest?.parts.map(({ path }) => path) ?? FIXED_PARTS
    for (const path of [MANIFEST, ...wanted]) {
      if (this.#seen.includes(path)) continue
      const seq = path === RECORDS ? 0 : this.#namedBy(path)
      this.#find({ problem: 'missing', where: path, seq, message: 'it is not in the archive' })
    }
  }

  #checkSeals(): void {
    if (this.#manifest !== null) this.#checkSeal(MANIFEST, this.#manifest)
    if (this.#proof !== null) this.#checkSeal(PROOF, this.#proof)
    const [manifest, proof] = [this.#manifest, this.#proof]
    if (manifest === null || proof === null) return
    if (manifest.run_id === proof.run_id && manifest.records === proof.length) return
    const message = `it speaks of ${proof.length} records of ${proof.run_id}, the manifest of ${manifest.records} of ${manifest.run_id}`
    this.#find({ problem: 'changed', where: PROOF, message })
  }

  #checkSeal(where: string, statement: Sealed): void {
    const seal = checkSeal(statement, this.#keys)
    if (seal === 'good') return
    const message =
      seal === 'bad'
        ? `its signature is not one of the key ${statement.key}: it was changed since it was signed`
        : `the key ${statement.key} is not known, so its signature cannot be checked`
    this.#find({ problem: 'signature', where, message })
  }

  #checkRecords(): void {
    const [records, proof] = [this.#records, this.#proof]
    if (records === null) return
    if (records.bad !== null) {
      const { problem, seq, message } = records.bad
      this.#find({ problem, where: RECORDS, seq, message })
      return
    }
    if (proof === null) return
    const length = records.run === null ? 0 : records.run.state.seq + 1
    if (length < proof.length) {
      const message = `${proof.length} records were signed, and the file ends here`
      this.#find({ problem: 'missing', where: RECORDS, seq: length, message })
    } else if (length > proof.length) {
      const message = `only ${proof.length} records were signed`
      this.#find({ problem: 'added', where: RECORDS, seq: proof.length, message })
    } else if (records.run?.head !== proof.head) {
      const message = `its hash ${records.run?.head} is not the signed one ${proof.head}: this record or some before it were written anew`
      this.#find({ problem: 'changed', where: RECORDS, seq: length - 1, message })
    }
  }

  /** Artifacts that records name must be there, unless the signed manifest says that they never were. */
  #checkArtifacts(): void {
    const listed = new Set(this.#manifest?.parts.map(({ path }) => path))
    for (const [name, seq] of this.#records?.artifacts ?? []) {
      const where = `${ARTIFACTS}${name}`
      if (listed.has(where) || this.#manifest === null) continue
      if (this.#redactions.hasTaken(name)) continue
      const message = this.#manifest.missing_artifacts.includes(name)
        ? 'the server did not have it any more when the run was exported'
        : 'a record names it, and the manifest does not'
      this.#find({ problem: 'missing', where, seq, message })
    }
  }

  #checkRedactions(): void {
    const { run = null } = this.#records ?? {}
    const length = run === null ? 0 : run.state.seq + 1
    const lengthOf = (runId: string): number => (runId === run?.state.runId ? length : 0)
    for (const { runId: _, ...finding } of this.#redactions.findings(lengthOf)) this.#find(finding)
  }

  #trust(): Trust {
    if (!hasAnchors(this.#anchors)) return 'not_compared'
    const keys = [this.#manifest?.key, this.#proof?.key]
    const all = keys.every((key) => key !== undefined && isTrusted(this.#anchors, key))
    return all ? 'trusted' : 'not_trusted'
  }

  #find({ seq = null, ...finding }: Omit<Finding, 'seq'> & { readonly seq?: number | null }): void {
    this.#findings.push({ ...finding, seq })
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
