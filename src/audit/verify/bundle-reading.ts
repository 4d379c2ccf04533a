import { prettifyError, type z } from 'zod'
import { LogProof, PublishedKeys, RunProof } from '../../api/audit.ts'
import { type KnownKeys, knownKeys } from '../../checkpoints/public-keys.ts'
import { otherwiseIsolated } from '../../domain/isolation.ts'
import { artifactsOf } from '../../domain/named-artifacts.ts'
import { jsonOr } from '../../lib/json.ts'
import { messageOf } from '../../lib/message-of.ts'
import type { Logged } from '../../log/chain.ts'
import { canonicalText } from '../../log/commitment.ts'
import type { Redaction } from '../../redaction/redaction.ts'
import {
  ARTIFACTS,
  type BundlePart,
  firstSeqOf,
  HashedBody,
  KEYS,
  LOG_PROOF,
  MANIFEST,
  Manifest,
  PROOF,
  packOf,
  RECORDS_V1,
  REDACTIONS_FILE,
  recordsPath,
  STAMP,
  type Version,
} from '../bundle/bundle-format.ts'
import { type LineFormat, linesOf, type RecordLine, readLine } from '../bundle/record-lines.ts'
import { FilesCheck } from './files-check.ts'
import type { VerifiedRun } from './possible-run.ts'
import type { RecordedVerdict } from './read-record.ts'
import { RedactionCheck, verifyRedactions } from './redaction-check.ts'
import { type Finding, finding } from './report.ts'
import { type BadRecord, type VerifiedRecord, verifyRecord } from './verify-run.ts'

type SeeRecord = (record: VerifiedRecord, line: RecordLine) => void | Promise<void>

/** What others see of an export while it is read. */
export type Observers = {
  /** Gets each record that holds, in order, with its line. */
  readonly onRecord?: SeeRecord | undefined
  /** Gets each recorded redaction that holds, in order. */
  readonly onRedaction?: ((redaction: Logged<Redaction>) => void) | undefined
}

type Stamp = {
  proof: LogProof | null
  token: Buffer | null
  authority: string | null
}

type ReadPart = {
  readonly path: string
  /** Null if the archive ended in it. */
  readonly contents: { readonly bytes: number; readonly sha256: string } | null
}

/**
 * Reads an export part by part, and checks each part by itself. What it has read is in its fields; a part that is missing
 * or cannot be read is null.
 */
export class BundleReading {
  readonly #trusted: KnownKeys
  readonly #observers: Observers
  /** What is wrong with single parts. */
  readonly findings: Finding[] = []
  /** In the order of the archive. */
  readonly parts: ReadPart[] = []
  readonly redactions = new RedactionCheck()
  readonly files = new FilesCheck()
  /** Those of the archive, and those that the reader trusts, which take precedence. */
  keys: KnownKeys
  manifest: Manifest | null = null
  proof: RunProof | null = null
  log: LogProof | null = null
  /** A time stamp over a note about the log of checkpoints, where the run is in that, and the certificates of the authority. */
  readonly stamp: Stamp = { proof: null, token: null, authority: null }
  /** The hashes of the last records that `log` and the time stamp cover, by how many they cover. */
  readonly loggedHeads = new Map<number, string>()
  records: RecordsCheck | null = null
  /** How many artifacts are what their names say. */
  artifacts = 0

  /** @param trusted keys that the reader does not take from the archive */
  constructor(trusted: KnownKeys, observers: Observers) {
    this.#trusted = trusted
    this.#observers = observers
    this.keys = trusted
  }

  get version(): Version {
    return this.parts[0]?.path === MANIFEST ? 1 : 2
  }

  async take({ path, mtime, body }: BundlePart): Promise<void> {
    const index = this.parts.push({ path, contents: null }) - 1
    const hashed = new HashedBody(body)
    await this.#read(path, hashed)
    await hashed.drain()
    const { exported_at } = this.manifest ?? {}
    // All parts of an archive have one time.
    if (path === MANIFEST && mtime !== undefined && exported_at !== undefined) {
      if (mtime !== Math.floor(Date.parse(exported_at) / 1000)) {
        const message = `the archive was not packed when the manifest says that the run was exported, ${exported_at}`
        this.#find('changed', MANIFEST, message)
      }
    }
    const { bytes, sha256 } = hashed
    this.parts[index] = { path, contents: { bytes, sha256 } }
  }

  async #read(path: string, body: HashedBody): Promise<void> {
    if (firstSeqOf(path) !== null) await this.#readRecords(path, body)
    else if (path === REDACTIONS_FILE) await this.#readRedactions(body)
    else if (path.startsWith(ARTIFACTS)) await this.#readArtifact(path, body)
    else if (packOf(path) !== null) await this.#readObjects(path, body)
    else if (path === MANIFEST) this.manifest = await this.#statement(path, body, Manifest)
    else if (path === PROOF) this.proof = await this.#statement(path, body, RunProof)
    else if (path === LOG_PROOF) this.log = await this.#statement(path, body, LogProof)
    else if (path === STAMP.proof) this.stamp.proof = await this.#statement(path, body, LogProof)
    else if (path === STAMP.token) this.stamp.token = await body.content()
    else if (path === STAMP.authority) this.stamp.authority = String(await body.content())
    else if (path === KEYS) this.#takeKeys(await this.#statement(path, body, PublishedKeys))
  }

  async #statement<T extends object>(
    path: string,
    body: HashedBody,
    schema: z.ZodType<T>,
  ): Promise<T | null> {
    const text = (await body.content()).toString()
    const value = jsonOr(text, undefined)
    const parsed = schema.safeParse(value)
    if (parsed.success && `${canonicalText(parsed.data)}\n` === text) return parsed.data
    const message = parsed.success
      ? 'it is not written in canonical form'
      : `it cannot be read: ${value === undefined ? 'it is not JSON' : prettifyError(parsed.error)}`
    this.#find('changed', path, message)
    return null
  }

  #takeKeys(published: PublishedKeys | null): void {
    if (published === null) return
    try {
      this.keys = new Map([...knownKeys(published), ...this.#trusted])
    } catch (cause) {
      this.#find('changed', KEYS, messageOf(cause))
    }
  }

  async #readRecords(path: string, body: HashedBody): Promise<void> {
    const runId = this.proof?.run_id ?? this.manifest?.run_id
    if (runId === undefined) return
    this.records ??= new RecordsCheck(runId)
    const { bad, length } = this.records
    if (bad === null && firstSeqOf(path) !== length) {
      this.#find('unexpected', path, `record ${length} comes next`)
    }
    const format = path === RECORDS_V1 ? 'checksummed' : 'plain'
    await this.records.read(body, format, (record, line) => {
      this.redactions.see(record)
      const covered = [this.log, this.stamp.proof].map((proof) => proof?.leaf.length)
      if (covered.includes(record.seq + 1)) this.loggedHeads.set(record.seq + 1, record.meta.hash)
      const { kind, payload } = record.record
      if (kind === 'snapshot') this.files.see(record.seq, payload)
      return this.#observers.onRecord?.(record, line)
    })
  }

  async #readRedactions(body: HashedBody): Promise<void> {
    const format = this.version === 1 ? 'checksummed' : 'plain'
    const message = await verifyRedactions(body, format, this.keys, (redaction) => {
      this.redactions.add(redaction)
      this.#observers.onRedaction?.(redaction)
    })
    if (message !== null) this.#find('changed', REDACTIONS_FILE, message)
  }

  async #readArtifact(path: string, body: HashedBody): Promise<void> {
    await body.drain()
    const seq = this.namedBy(path)
    if (seq === null && this.records?.bad === null) {
      this.#find('unexpected', path, 'no record names it')
    }
    if (body.sha256 === path.slice(ARTIFACTS.length)) this.artifacts += 1
    else this.#find('changed', path, `its contents have the SHA-256 ${body.sha256}`, seq)
  }

  async #readObjects(path: string, body: HashedBody): Promise<void> {
    const wrong = this.files.take(path, await body.content())
    if (wrong !== null) this.#find('changed', path, wrong, this.namedBy(path))
    const isNamed =
      this.namedBy(path) !== null || this.redactions.packs.left.has(packOf(path) ?? '')
    if (isNamed || this.records?.bad !== null) return
    this.#find('unexpected', path, 'no record and no redaction names this pack')
  }

  /** No further part can be read. */
  breakOff(cause: unknown): void {
    const last = this.parts.at(-1)
    const seq = last?.contents === null ? this.namedBy(last.path) : null
    this.#find('incomplete', 'archive', messageOf(cause), seq)
  }

  /** The record that names an artifact or a pack, by the path of the part; null for any other path. */
  namedBy(path: string): number | null {
    const { artifacts, packs } = this.records ?? {}
    return artifacts?.get(path.slice(ARTIFACTS.length)) ?? packs?.get(packOf(path) ?? '') ?? null
  }

  /** The part that holds a record, or should hold it. */
  fileOf(seq: number): string {
    const before = this.parts.filter(
      ({ path }) => (firstSeqOf(path) ?? Number.POSITIVE_INFINITY) <= seq,
    )
    return before.at(-1)?.path ?? (this.version === 1 ? RECORDS_V1 : recordsPath(0))
  }

  #find(problem: Finding['problem'], where: string, message: string, seq: number | null = null) {
    this.findings.push(finding(problem, where, message, seq))
  }
}

/** Verifies the records of an export line by line, up to the first bad one. */
export class RecordsCheck {
  readonly #runId: string
  run: VerifiedRun | null = null
  bad: BadRecord | null = null
  /** Null until the run has ended, and in runs of earlier versions. */
  verdict: RecordedVerdict | null = null
  /** The artifacts that records name, without packs, each with the first record that does. */
  readonly artifacts = new Map<string, number>()
  /** The packs of objects that records name, in the same way. */
  readonly packs = new Map<string, number>()
  /** How many results were not isolated as the first record says, apart from checks with a home of their own. */
  isolatedOtherwise = 0
  #hidden: string | null = null

  constructor(runId: string) {
    this.#runId = runId
  }

  /** How many records hold, which is the seq of the next. */
  get length(): number {
    return this.run === null ? 0 : this.run.seq + 1
  }

  /** How many artifacts an export does not hold yet: the check that the agent does not see, until the run has ended. */
  get withheld(): number {
    return this.#hidden === null || this.run?.ended ? 0 : 1
  }

  /** Continues with the lines of a part, and reads it to its end. @param see gets each record that holds */
  async read(body: AsyncIterable<Uint8Array>, format: LineFormat, see: SeeRecord): Promise<void> {
    for await (const texts of linesOf(body)) {
      for (const text of texts) {
        if (this.bad !== null) break
        const line = readLine(text, format)
        if (typeof line === 'string') {
          this.bad = { problem: 'changed', seq: this.length, message: line }
          break
        }
        const verified = verifyRecord(this.#runId, this.run, line)
        if (verified.isErr()) {
          this.bad = verified.error
          break
        }
        this.#take(verified.value)
        const seen = see(verified.value, line)
        if (seen !== undefined) await seen
      }
    }
  }

  #take(verified: VerifiedRecord): void {
    const { run, seq, record } = verified
    this.run = run
    const { packs, others, hidden } = artifactsOf(record)
    for (const name of packs) if (!this.packs.has(name)) this.packs.set(name, seq)
    for (const name of others) if (!this.artifacts.has(name)) this.artifacts.set(name, seq)
    this.#hidden ??= hidden
    if (record.kind === 'run_end') this.verdict = record.payload.verdict ?? null
    if (record.kind === 'run_end' && this.#hidden !== null) this.artifacts.set(this.#hidden, 0)
    if (record.kind !== 'tool_result' && record.kind !== 'goal_check') return
    const { isolation } = record.payload
    if (isolation && otherwiseIsolated(record.kind, isolation, run.isolation) === 'other')
      this.isolatedOtherwise += 1
  }
}
