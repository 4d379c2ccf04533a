import type { z } from 'zod'
import { PublishedKeys, RunProof } from '../../api/audit.ts'
import { firstIssueOf } from '../../lib/first-issue-of.ts'
import { jsonOr } from '../../lib/json-or.ts'
import { messageOf } from '../../lib/message-of.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { LoggedRedaction } from '../../redaction/redaction-ledger.ts'
import {
  ARTIFACTS,
  type BundlePart,
  firstSeqOf,
  HashedBody,
  KEYS,
  MANIFEST,
  Manifest,
  PROOF,
  RECORDS_V1,
  REDACTIONS_FILE,
  recordsPath,
  type Version,
} from '../bundle/bundle-format.ts'
import {
  hasAnchors,
  isTrusted,
  type KnownKeys,
  knownKeys,
  type TrustAnchors,
} from '../proofs/public-keys.ts'
import { checkSeal, type Sealed } from '../proofs/statements.ts'
import type { ContentsPool } from './contents-pool.ts'
import { RedactionCheck } from './redaction-check.ts'
import type { Finding, Trust } from './report.ts'
import { verifyRedactions } from './verify-ledger.ts'
import { RecordsCheck, type RecordsObserver, type VerifiedRecords } from './verify-records.ts'

export type Observers = RecordsObserver & {
  /** Gets each recorded redaction that holds, in order. */
  readonly onRedaction?: (redaction: LoggedRedaction) => void
}

export type ReadPart = {
  readonly path: string
  /** Null if the archive ended in it. */
  readonly contents: { readonly bytes: number; readonly sha256: string } | null
}

/** What was read of an export; a part that is missing or cannot be read is null. */
export type BundleContents = {
  readonly version: Version
  /** In the order of the archive. */
  readonly parts: readonly ReadPart[]
  /** When the archive was packed, seconds since the epoch; null if that is not known. */
  readonly mtime: number | null
  /** Those of the archive, and those that the reader trusts, which take precedence. */
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

/** Reads an export part by part, and checks each part by itself. */
export class BundleReading {
  readonly #trusted: KnownKeys
  readonly #pool: ContentsPool
  readonly #observers: Observers
  readonly #findings: Finding[] = []
  readonly #parts: ReadPart[] = []
  readonly #redactions = new RedactionCheck()
  #mtime: number | null = null
  #keys: KnownKeys
  #manifest: Manifest | null = null
  #proof: RunProof | null = null
  #records: RecordsCheck | null = null
  #artifacts = 0
  #broken: BundleContents['broken'] = null

  /** @param trusted keys that the reader does not take from the archive */
  constructor(trusted: KnownKeys, pool: ContentsPool, observers: Observers) {
    this.#trusted = trusted
    this.#pool = pool
    this.#observers = observers
    this.#keys = trusted
  }

  get contents(): BundleContents {
    return {
      version: this.#version,
      parts: this.#parts,
      mtime: this.#mtime,
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

  get #version(): Version {
    return this.#parts[0]?.path === MANIFEST ? 1 : 2
  }

  async take({ path, mtime, body }: BundlePart): Promise<void> {
    this.#mtime = mtime ?? null
    const index = this.#parts.push({ path, contents: null }) - 1
    const hashed = new HashedBody(body)
    await this.#read(path, hashed)
    await hashed.drain()
    const { bytes, sha256 } = hashed
    this.#parts[index] = { path, contents: { bytes, sha256 } }
  }

  async #read(path: string, body: HashedBody): Promise<void> {
    if (firstSeqOf(path) !== null) await this.#readRecords(path, body)
    else if (path === REDACTIONS_FILE) await this.#readRedactions(body)
    else if (path.startsWith(ARTIFACTS)) await this.#readArtifact(path, body)
    else if (path === MANIFEST) this.#manifest = await this.#statement(path, body, Manifest)
    else if (path === PROOF) this.#proof = await this.#statement(path, body, RunProof)
    else if (path === KEYS) this.#takeKeys(await this.#statement(path, body, PublishedKeys))
  }

  async #statement<T extends object>(
    path: string,
    body: HashedBody,
    schema: z.ZodType<T>,
  ): Promise<T | null> {
    const text = await body.text()
    const value = jsonOr(text, undefined)
    const parsed = schema.safeParse(value)
    if (parsed.success && `${canonicalText(parsed.data)}\n` === text) return parsed.data
    const message = parsed.success
      ? 'it is not written in canonical form'
      : `it cannot be read: ${value === undefined ? 'it is not JSON' : firstIssueOf(parsed.error)}`
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

  async #readRecords(path: string, body: HashedBody): Promise<void> {
    const runId = this.#proof?.run_id ?? this.#manifest?.run_id
    if (runId === undefined) return
    this.#pool.expect(this.#proof?.length ?? 0)
    this.#records ??= new RecordsCheck(runId, this.#pool, {
      ...this.#observers,
      onRecord: (record) => {
        this.#redactions.see(record.logged)
        this.#observers.onRecord?.(record)
      },
    })
    const { bad, next } = this.#records
    if (bad === null && firstSeqOf(path) !== next) {
      this.#find({ problem: 'unexpected', where: path, message: `record ${next} comes next` })
    }
    await this.#records.read(body, path === RECORDS_V1 ? 'checksummed' : 'plain')
  }

  async #readRedactions(body: HashedBody): Promise<void> {
    const format = this.#version === 1 ? 'checksummed' : 'plain'
    const message = await verifyRedactions(body, format, this.#keys, (redaction) => {
      this.#redactions.add(redaction)
      this.#observers.onRedaction?.(redaction)
    })
    if (message !== null) this.#find({ problem: 'changed', where: REDACTIONS_FILE, message })
  }

  async #readArtifact(path: string, body: HashedBody): Promise<void> {
    await body.drain()
    const seq = namedBy(path, this.#records)
    if (seq === null && this.#records?.bad === null) {
      this.#find({ problem: 'unexpected', where: path, message: 'no record names it' })
    }
    if (body.sha256 !== path.slice(ARTIFACTS.length)) {
      const message = `its contents have the SHA-256 ${body.sha256}`
      this.#find({ problem: 'changed', where: path, seq, message })
    } else this.#artifacts += 1
  }

  /** No further part can be read. */
  breakOff(cause: unknown): void {
    const last = this.#parts.at(-1)
    const seq = last?.contents === null ? namedBy(last.path, this.#records) : null
    this.#broken = { seq, message: messageOf(cause) }
  }

  #find({ seq = null, ...finding }: Omit<Finding, 'seq'> & { readonly seq?: number | null }): void {
    this.#findings.push({ ...finding, seq })
  }
}

/** The record that names an artifact, by the path of the artifact; null for any other path. */
export function namedBy(path: string, records: VerifiedRecords | null): number | null {
  return records?.artifacts.get(path.slice(ARTIFACTS.length)) ?? null
}

/** What is wrong with the signatures of an export. */
export function sealsBroken({ manifest, proof, keys }: BundleContents): Finding[] {
  const findings = [...sealBroken(MANIFEST, manifest, keys), ...sealBroken(PROOF, proof, keys)]
  if (manifest === null || proof === null) return findings
  if (manifest.run_id === proof.run_id && manifest.records === proof.length) return findings
  const message = `it names ${proof.length} records of ${proof.run_id}, the manifest ${manifest.records} of ${manifest.run_id}`
  return [...findings, { problem: 'changed', where: PROOF, seq: null, message }]
}

function sealBroken(where: string, statement: Sealed | null, keys: KnownKeys): Finding[] {
  const seal = statement === null ? 'good' : checkSeal(statement, keys)
  if (statement === null || seal === 'good') return []
  const message =
    seal === 'bad'
      ? `its signature is not from the key ${statement.key}: it was changed after it was signed`
      : `the key ${statement.key} is not known, so its signature cannot be checked`
  return [{ problem: 'signature', where, seq: null, message }]
}

/** The part that holds a record, or should hold it. */
export function fileOf(seq: number, { version, parts }: BundleContents): string {
  const before = parts.filter(({ path }) => (firstSeqOf(path) ?? Number.POSITIVE_INFINITY) <= seq)
  return before.at(-1)?.path ?? (version === 1 ? RECORDS_V1 : recordsPath(0))
}

/** Whether everything in an export that is signed is signed with keys that the reader trusts. */
export function trustOf(
  { manifest, proof, redactions }: BundleContents,
  anchors: TrustAnchors,
): Trust {
  if (!hasAnchors(anchors)) return 'not_compared'
  const all = [manifest?.key, proof?.key, ...redactions.keys].every(
    (key) => key !== undefined && isTrusted(anchors, key),
  )
  return all ? 'trusted' : 'not_trusted'
}
