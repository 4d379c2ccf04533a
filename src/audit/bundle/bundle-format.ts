import { createHash } from 'node:crypto'
import * as z from 'zod'
import { sealed } from '../../api/audit.ts'
import { Sha256, Timestamp } from '../../domain/fields.ts'

/**
 * The parts of an export: `log.json` only if a checkpoint covers the run, `stamps/` only if a time stamp does, `redactions.ndjson` only if something was redacted,
 * `artifacts/` only if a record names one, `objects/` only if the run has snapshots.
 */
export const README = 'README.txt'
export const KEYS = 'keys.json'
export const PROOF = 'proof.json'
export const LOG_PROOF = 'log.json'
/** Where the run is in the tree that was stamped; the token (DER); the certificates of the authority (PEM). */
export const STAMP = {
  proof: 'stamps/log.json',
  token: 'stamps/token.der',
  authority: 'stamps/authority.pem',
} as const
export const REDACTIONS_FILE = 'redactions.ndjson'
export const ARTIFACTS = 'artifacts/'
export const MANIFEST = 'manifest.json'

/**
 * How an export is laid out (docs/adr/0016-the-manifest-comes-last.md). Version 1 begins with the manifest, has all
 * records in one part, and each line begins with its CRC-32. Nothing writes it any more.
 */
export type Version = 1 | 2

export const RECORDS_V1 = 'records.ndjson'
const RECORDS_FOLDER = 'records/'
const RECORDS_PATH = /^records\/(\d{10})\.ndjson$/

/** The part of a version 2 export whose first record has this seq. */
export const recordsPath = (seq: number): string =>
  `${RECORDS_FOLDER}${String(seq).padStart(10, '0')}.ndjson`

const OBJECTS_PATH = /^objects\/([0-9a-f]{64})\.pack$/

/** The part with the objects of a pack of this name. */
export const objectsPath = (pack: string): string => `objects/${pack}.pack`

/** The pack that a part has objects of; null if the part does not hold objects. */
export const packOf = (path: string): string | null => OBJECTS_PATH.exec(path)?.[1] ?? null

/** The seq of the first record in a part; null if the part does not hold records. */
export function firstSeqOf(path: string): number | null {
  if (path === RECORDS_V1) return 0
  const [, digits] = RECORDS_PATH.exec(path) ?? []
  return digits === undefined ? null : Number(digits)
}

const contents = {
  run_id: z.uuid(),
  records: z.int().positive(),
  exported_at: Timestamp,
  /** All parts except the manifest, in the order of the archive. */
  parts: z
    .array(
      z.strictObject({ path: z.string(), bytes: z.int().nonnegative(), sha256: Sha256 }).readonly(),
    )
    .readonly(),
  /** Artifacts that records name and that the server did not have. */
  missing_artifacts: z.array(Sha256).readonly(),
  /** What the export holds of the snapshots of the run. Left out if it has none. */
  files: z
    .strictObject({
      /** Whether it should hold all files of the first and of the last snapshot. */
      first_and_last: z.boolean(),
      /** Trees and contents of files in which masking finds something, each with a path where a snapshot has it. */
      withheld: z.array(
        z.strictObject({ id: Sha256, path: z.string(), why: z.literal('masked') }).readonly(),
      ),
    })
    .exactOptional(),
  /** How many of the first entries of the ledger of redactions are unsigned, because an earlier version made them. */
  unsigned_redactions: z.int().nonnegative().exactOptional(),
}

/** What an export holds, signed. */
export const Manifest = z.discriminatedUnion('type', [
  sealed('retrai.export.v1', contents),
  sealed('retrai.export.v2', contents),
])
export type Manifest = z.infer<typeof Manifest>
export type ListedPart = Manifest['parts'][number]

/** One file of the archive. The body must be read to its end before the next part is requested. */
export type BundlePart = {
  readonly path: string
  readonly bytes: number
  /** When it was packed, seconds since the epoch, if the archive names a time. */
  readonly mtime?: number
  readonly body: AsyncIterable<Uint8Array>
}

export const readme = (runId: string): string => `\
This is the record of the retrAI run ${runId}, as its server exported it.
To verify it without a server and without a network:

    retrai verify FILE --fingerprint FINGERPRINT

The fingerprint is that of the server's key. Take it from another source than this archive: anybody who
forges an archive can put their own key into it.

docs/verification.md of retrAI describes the parts, the checks and the formats byte by byte, so that you can
write a verifier in any language. In short: the hash of each record is SHA-256 over its RFC 8785 canonical
form, in which a salted hash replaces each string of the payload; it covers the hash of the record before it;
and proof.json signs the last hash. manifest.json lists the size and SHA-256 of every other part, signed.
`

/** A part that is held in memory while it is read is never larger. */
const MAX_TEXT_BYTES = 64 * 1024 * 1024

/** The bytes of a part, counted and hashed as they are read. */
export class HashedBody implements AsyncIterable<Uint8Array> {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #hash = createHash('sha256')
  #digest: string | null = null
  bytes = 0

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#chunks = body[Symbol.asyncIterator]()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const { done, value } = await this.#chunks.next()
      if (done) return
      this.#hash.update(value)
      this.bytes += value.length
      yield value
    }
  }

  async drain(): Promise<void> {
    for await (const _ of this);
  }

  /** Ends the reading of a part that is not needed to its end. */
  async close(): Promise<void> {
    await this.#chunks.return?.()
  }

  /** @throws if the part is far larger than any part of an export that is read as a whole */
  async content(): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    for await (const chunk of this) {
      chunks.push(chunk)
      if (this.bytes > MAX_TEXT_BYTES) throw new Error('a part is far too large')
    }
    return Buffer.concat(chunks)
  }

  /** The hash of everything that was read. Nothing can be read after it. */
  get sha256(): string {
    this.#digest ??= this.#hash.digest('hex')
    return this.#digest
  }
}
