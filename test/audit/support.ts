import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { errAsync, okAsync } from 'neverthrow'
import type { RunProof } from '../../src/api/audit.ts'
import type { ArtifactSource } from '../../src/artifacts/artifacts.ts'
import { exportRun, proveRun } from '../../src/audit/audit.ts'
import {
  type BundlePart,
  firstSeqOf,
  MANIFEST,
  Manifest,
  RECORDS_V1,
  REDACTIONS_FILE,
  recordsPath,
  type Version,
} from '../../src/audit/bundle/bundle-format.ts'
import { exportParts } from '../../src/audit/bundle/export-parts.ts'
import { type Keys, openKeyring, seal } from '../../src/checkpoints/keyring.ts'
import type { IsolationPolicy } from '../../src/domain/isolation.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { GENESIS, type Signer, sealEntry } from '../../src/log/chain.ts'
import { encode, redactStrings } from '../../src/log/codec.ts'
import { canonicalText, SALT_BYTES } from '../../src/log/commitment.ts'
import { streamOf } from '../../src/log/run-log.ts'
import type { StreamReader } from '../../src/log/stream-pages.ts'
import type { Redaction } from '../../src/redaction/redaction.ts'
import { REDACTIONS } from '../../src/redaction/redaction-index.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { prepare } from '../support/append-records.ts'
import { PACKS } from '../support/run-records.ts'

export const NOW = new Date('2026-02-18T12:00:00.000Z')

/** A part in memory, which a test can change. */
export type Part = { readonly path: string; readonly content: Buffer }

/** A new key, whose folder is removed. */
export async function newKeys(): Promise<Keys> {
  const dir = await mkdtemp(join(tmpdir(), 'retrai-keys-'))
  try {
    const keyring = (await openKeyring(dir, () => NOW))._unsafeUnwrap()
    return (await keyring.load())._unsafeUnwrap()
  } finally {
    await rm(dir, { recursive: true })
  }
}

/** The stored events of a run. */
export function eventsOf(records: readonly RunRecord[]): RecordedEvent[] {
  const runId = records[0]?.run_id ?? ''
  const { events } = prepare(runId, null, records, { commandId: 'test', principal: 'test' })
  return events.map((event, revision) => ({
    ...event,
    stream: streamOf(runId),
    revision,
    position: String(revision),
    created: 1_770_000_000_000 + revision,
  }))
}

/** Strings to redact from a run, each by its own entry; the artifact of an output is deleted with it. */
export type Taken = { readonly seq: number; readonly pointer: string; readonly artifact?: string }

/** The events of a run with these strings redacted, and then the ledger of the redactions, signed if there is a signer. */
export function withTaken(
  events: readonly RecordedEvent[],
  taken: readonly Taken[],
  saltOf: (entry: number) => string = () => randomBytes(SALT_BYTES).toString('hex'),
  signer: Signer | null = null,
): RecordedEvent[] {
  const run = [...events]
  const ledger: RecordedEvent[] = []
  let prev_hash = GENESIS
  for (const { seq, pointer, artifact } of taken) {
    const before = run[seq]
    if (before === undefined) throw new Error(`there is no record ${seq}`)
    const { event, redacted } = redactStrings(before, new Set([pointer]))
    run[seq] = event
    const payload = {
      run_id: before.stream.slice('run-'.length),
      seq,
      redacted: { [pointer]: redacted[pointer] ?? '' },
      ...(artifact === undefined ? {} : { artifact }),
      reason: 'a password',
    }
    const revision = ledger.length
    const entry: Redaction = { kind: 'redacted', ts: 1_770_000_500 + revision, payload }
    const meta = {
      command_id: `r${revision}`,
      principal: 'alice',
      salt: saltOf(revision),
      prev_hash,
    }
    const { event: recorded, logged } = encode(
      revision,
      entry,
      meta,
      signer === null ? undefined : (hash) => sealEntry(REDACTIONS.stream, hash, revision, signer),
    )
    prev_hash = logged.meta.hash
    const created = 1_770_000_600_000 + revision
    const place = { stream: REDACTIONS.stream, revision, position: `r${revision}`, created }
    ledger.push({ ...recorded, ...place })
  }
  return [...run, ...ledger]
}

/** The hash of the policy that `isolated` records. */
export const POLICY = 'a'.repeat(64)

/** A run that records how its commands are isolated. */
export const isolated = (records: readonly RunRecord[]): RunRecord[] =>
  records.map((record) => {
    if (record.kind !== 'run_created') return record
    const isolation: IsolationPolicy = {
      ...{ level: 'namespaces', network: 'none', visible: ['system'], writable: ['project'] },
      ...{ protected: [], limits: {}, policy_sha256: POLICY },
    }
    return { ...record, payload: { ...record.payload, isolation } }
  })

/** Reads from memory what a store would hold. */
export function readerOf(events: readonly RecordedEvent[]): StreamReader {
  return {
    readStream: (stream, { from, direction, limit }) => {
      const found = events.filter((event) => event.stream === stream)
      if (found.length === 0) return errAsync({ type: 'stream_not_found', stream })
      if (direction === 'backward') return okAsync(found.slice(-limit).reverse())
      const first = typeof from === 'number' ? from : 0
      return okAsync(found.slice(first, first + limit))
    },
  }
}

const artifactsOf = (contents: ReadonlyMap<string, Buffer>): ArtifactSource => ({
  read: async (sha256) => {
    const content = contents.get(sha256)
    return content === undefined
      ? null
      : { bytes: content.length, stream: Readable.from([content]) }
  },
})

/** What an export of these events is made of. @param signed is signed instead of what the records say @param files as of `exportRun` */
async function sourceOf(
  events: readonly RecordedEvent[],
  keys: Keys,
  artifacts: ReadonlyMap<string, Buffer> = new Map(),
  signed: Partial<RunProof> = {},
  files = false,
) {
  const runId = events[0]?.stream.slice('run-'.length) ?? ''
  const store = readerOf(events)
  const proved = (await proveRun(store, null, runId, keys.signer, NOW))._unsafeUnwrap()
  const { signature: _, key: __, ...statement } = proved
  const proof = seal<RunProof>({ ...statement, ...signed }, keys.signer)
  return {
    deps: {
      ...{ store, artifacts: artifactsOf(new Map([...PACKS, ...artifacts])), keys, now: NOW },
      files,
    },
    proof,
  }
}
type Source = Parameters<typeof sourceOf>

/** An export of these events, as an archive. */
export async function archiveOf(...source: Source): Promise<Buffer> {
  const { deps, proof } = await sourceOf(...source)
  return Buffer.concat(await (await exportRun(deps, proof))._unsafeUnwrap().toArray())
}

/** The parts of an export of these events. */
export async function exported(...source: Source): Promise<Part[]> {
  const { deps, proof } = await sourceOf(...source)
  const parts: Part[] = []
  for await (const { path, body } of exportParts(deps, proof)) {
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    parts.push({ path, content: Buffer.concat(chunks) })
  }
  return parts
}

/** The part with the records of a short run. */
export const recordsPart = (version: Version): string =>
  version === 1 ? RECORDS_V1 : recordsPath(0)

/** A line with its checksum, as version 1 of exports and ledgers have it. */
export function checksummed(line: string): string {
  const rest = line.slice(1)
  return `{"crc32":"${crc32(rest).toString(16).padStart(8, '0')}",${rest}`
}

/** An export in the layout of another version, signed by the same key. */
export function asVersion(version: Version, parts: readonly Part[], { signer }: Keys): Part[] {
  if (version === 2) return [...parts]
  const manifest = parts.find(({ path }) => path === MANIFEST)
  const records = parts.filter(({ path }) => firstSeqOf(path) !== null)
  const redactions = parts.filter(({ path }) => path === REDACTIONS_FILE)
  const rest = parts.filter((part) => ![manifest, ...records, ...redactions].includes(part))
  const withChecksums = (path: string, from: readonly Part[]): Part => {
    const lines = Buffer.concat(from.map(({ content }) => content))
      .toString()
      .split('\n')
      .slice(0, -1)
    return { path, content: Buffer.from(lines.map((line) => `${checksummed(line)}\n`).join('')) }
  }
  const body = [
    ...rest.slice(0, 3),
    ...redactions.map((part) => withChecksums(part.path, [part])),
    withChecksums(RECORDS_V1, records),
    ...rest.slice(3),
  ]
  const {
    key: _,
    signature: __,
    ...statement
  } = Manifest.parse(JSON.parse(String(manifest?.content)))
  const listed = body.map(({ path, content }) => {
    return {
      path,
      bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    }
  })
  const sealed = seal<Manifest>({ ...statement, type: 'retrai.export.v1', parts: listed }, signer)
  return [{ path: MANIFEST, content: Buffer.from(`${canonicalText(sealed)}\n`) }, ...body]
}

export async function* partsOf(parts: readonly Part[]): AsyncGenerator<BundlePart> {
  for (const { path, content } of parts) {
    yield { path, bytes: content.length, body: whole(content) }
  }
}

async function* whole(content: Buffer): AsyncGenerator<Buffer> {
  yield content
}

export function replaced(parts: readonly Part[], path: string, content: Buffer | string): Part[] {
  return parts.map((part) =>
    part.path === path ? { path, content: Buffer.from(content as string) } : part,
  )
}

export function contentOf(parts: readonly Part[], path: string): Buffer {
  const found = parts.find((part) => part.path === path)
  if (found === undefined) throw new Error(`no part ${path}`)
  return found.content
}
