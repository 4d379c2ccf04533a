import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { errAsync, ok, okAsync } from 'neverthrow'
import type { Checkpoint, RunHead, RunProof } from '../../src/api/audit.ts'
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
import { type ExportDeps, exportParts, packed } from '../../src/audit/bundle/export-parts.ts'
import { verifyStore } from '../../src/audit/verify/verify-store.ts'
import { type Keys, openKeyring, seal } from '../../src/checkpoints/keyring.ts'
import { leafOf, merkleRoot } from '../../src/checkpoints/merkle.ts'
import type { IsolationPolicy } from '../../src/domain/isolation.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import { GENESIS, type Signer } from '../../src/log/chain.ts'
import { redactStrings } from '../../src/log/codec.ts'
import { canonicalText } from '../../src/log/commitment.ts'
import { chain, emptyStream } from '../../src/log/decider.ts'
import { streamOf } from '../../src/log/run-log.ts'
import type { StreamReader } from '../../src/log/stream-pages.ts'
import type { Redaction } from '../../src/redaction/redaction.ts'
import { REDACTIONS } from '../../src/redaction/redaction-index.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { prepare } from '../support/append-records.ts'
import { PACKS, validRun } from '../support/run-records.ts'

export const NOW = new Date('2026-02-18T12:00:00.000Z')

/** A part in memory, which a test can change. */
export type Part = { readonly path: string; readonly content: Buffer }

/** A run that has what a test needs, always the same one. */
export function sampleRun(
  seed: number,
  has: (records: readonly RunRecord[]) => boolean = () => true,
  runs: fc.Arbitrary<RunRecord[]> = validRun(undefined, { maxMoves: 25 }),
): RunRecord[] {
  const [records = []] = fc.sample(runs.filter(has), { numRuns: 1, seed })
  return records
}

/** Checks so many random values. */
export const forAll = <T>(
  numRuns: number,
  values: fc.Arbitrary<T>,
  check: (value: T) => Promise<void>,
): Promise<void> => fc.assert(fc.asyncProperty(values, check), { numRuns })

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

/** The first checkpoint of a log, over these runs. */
export async function checkpointOver(
  { signer }: Keys,
  ...heads: readonly RunHead[]
): Promise<Checkpoint> {
  const root = (await merkleRoot(heads.map(leafOf))).toString('hex')
  const log_id = '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed'
  return seal<Checkpoint>(
    {
      type: 'retrai.checkpoint.v1',
      log_id,
      number: 0,
      runs: heads.length,
      root,
      previous: GENESIS,
      signed_at: NOW.toISOString(),
    },
    signer,
  )
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
  signer: Signer | null = null,
): RecordedEvent[] {
  const run = [...events]
  const entries = taken.map(({ seq, pointer, artifact }, index): Redaction => {
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
    return { kind: 'redacted', ts: 1_770_000_500 + index, payload }
  })
  const author = { commandId: 'r', principal: 'alice' }
  const ledger = chain(REDACTIONS, emptyStream(REDACTIONS), entries, author, signer)
  const { stream } = REDACTIONS
  const created = 1_770_000_600_000
  return [
    ...run,
    ...ledger.events.map((event, revision) => {
      return { ...event, stream, revision, position: `r${revision}`, created }
    }),
  ]
}

/** The hash of the policy that `isolated` records. */
export const POLICY = 'a'.repeat(64)

/** A run that records how its commands are isolated. */
export const isolated = (records: readonly RunRecord[]): RunRecord[] =>
  records.map((record) => {
    if (record.kind !== 'run_created') return record
    const isolation: IsolationPolicy = {
      level: 'namespaces',
      network: 'none',
      visible: ['system'],
      writable: ['project'],
      protected: [],
      limits: {},
      policy_sha256: POLICY,
    }
    return { ...record, payload: { ...record.payload, isolation } }
  })

/** Reads from memory what a store would hold. @param all the events, or what returns those that there are now */
export function readerOf(
  all: readonly RecordedEvent[] | (() => readonly RecordedEvent[]),
): StreamReader {
  return {
    readStream: (stream, { from, direction, limit }) => {
      const found = (typeof all === 'function' ? all() : all).filter(
        (event) => event.stream === stream,
      )
      if (found.length === 0) return errAsync({ type: 'stream_not_found', stream })
      if (direction === 'backward') return okAsync(found.slice(-limit).reverse())
      const first = typeof from === 'number' ? from : 0
      return okAsync(found.slice(first, first + limit))
    },
  }
}

/** Artifacts in memory, and the packs of the made-up snapshots. */
export const artifactsOf = (contents: ReadonlyMap<string, Buffer> = new Map()): ArtifactSource => ({
  read: async (name) => {
    const content = contents.get(name) ?? PACKS.get(name)
    return content === undefined
      ? null
      : { bytes: content.length, stream: Readable.from([content]) }
  },
})

/** What is found in a whole log without artifacts, keys and a read model. */
export async function verifiedLog(events: readonly RecordedEvent[]) {
  const store = { reader: readerOf(events), pages: () => once(ok(events)) }
  const rest = { artifacts: { read: async () => null }, keys: new Map(), projected: null }
  return (await verifyStore({ ...store, ...rest }))._unsafeUnwrap()
}

/** What an export of a run is made of. @param signed is signed instead of what the records say */
async function sourceIn(
  store: StreamReader,
  runId: string,
  keys: Keys,
  artifacts?: ReadonlyMap<string, Buffer>,
  signed: Partial<RunProof> = {},
  more: Pick<ExportDeps, 'files' | 'log' | 'stamped'> = {},
) {
  const proved = (await proveRun(store, runId, keys.signer, NOW))._unsafeUnwrap()
  const { signature: _, key: __, ...statement } = proved
  const proof = seal<RunProof>({ ...statement, ...signed }, keys.signer)
  return { deps: { store, artifacts: artifactsOf(artifacts), keys, now: NOW, ...more }, proof }
}
type Stored = Parameters<typeof sourceIn>
type InMemory = [
  events: readonly RecordedEvent[],
  ...(Stored extends [unknown, unknown, ...infer Rest] ? Rest : never),
]

/** The parts of an export of a run in a store. */
export async function exportedFrom(...source: Stored): Promise<Part[]> {
  const { deps, proof } = await sourceIn(...source)
  return collected(exportParts(deps, proof))
}

const inMemory = ([events, ...rest]: InMemory): Stored => [
  readerOf(events),
  events[0]?.stream.slice('run-'.length) ?? '',
  ...rest,
]

/** The parts of an export of these events. */
export const exported = (...source: InMemory) => exportedFrom(...inMemory(source))

/** An export of these events, as an archive. */
export async function archiveOf(...source: InMemory): Promise<Buffer> {
  const { deps, proof } = await sourceIn(...inMemory(source))
  return buffer((await exportRun(deps, proof))._unsafeUnwrap())
}

/** Parts with their contents. */
export async function collected(parts: AsyncIterable<BundlePart>): Promise<Part[]> {
  const all: Part[] = []
  for await (const { path, body } of parts) all.push({ path, content: await buffer(body) })
  return all
}

/** An archive of parts. @param at when they were exported */
export const archived = (parts: readonly Part[], at = NOW): Promise<Buffer> =>
  buffer(packed(partsOf(parts), at))

/** The part with the records of a short run. */
export const recordsPart = (version: Version): string =>
  version === 1 ? RECORDS_V1 : recordsPath(0)

/** A line with its checksum, as version 1 of exports and ledgers have it. */
export function checksummed(line: string): string {
  const rest = line.slice(1)
  return `{"crc32":"${crc32(rest).toString(16).padStart(8, '0')}",${rest}`
}

/** An export in the layout of another version, signed by the same key. */
export function asVersion(version: Version, parts: readonly Part[], keys: Keys): Part[] {
  if (version === 2) return [...parts]
  const records = parts.filter(({ path }) => firstSeqOf(path) !== null)
  const redactions = parts.filter(({ path }) => path === REDACTIONS_FILE)
  const rest = parts.filter((part) => ![...records, ...redactions].includes(part))
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
  const listed = listedAgain(body, keys, 'retrai.export.v1')
  return [...listed.slice(-1), ...listed.slice(0, -1)]
}

/** The same parts with a manifest that lists them as they are now, signed by these keys. */
export function listedAgain(
  parts: readonly Part[],
  { signer }: Keys,
  type: Manifest['type'] = 'retrai.export.v2',
): Part[] {
  const {
    key: _,
    signature: __,
    ...statement
  } = Manifest.parse(JSON.parse(String(contentOf(parts, MANIFEST))))
  const listed = parts
    .filter(({ path }) => path !== MANIFEST)
    .map(({ path, content }) => ({ path, bytes: content.length, sha256: sha256(content) }))
  const sealed = seal<Manifest>({ ...statement, type, parts: listed }, signer)
  return replaced(parts, MANIFEST, `${canonicalText(sealed)}\n`)
}

export async function* partsOf(parts: readonly Part[]): AsyncGenerator<BundlePart> {
  for (const { path, content } of parts) {
    yield { path, bytes: content.length, body: once(content) }
  }
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value
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
