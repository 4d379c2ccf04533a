import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import type { RunProof } from '../../api/audit.ts'
import type { ArtifactSource } from '../../artifacts/artifact-source.ts'
import { sha256 } from '../../lib/sha256.ts'
import { streamOf } from '../../log/run-log.ts'
import { firstEvents, type StreamReader } from '../../log/stream-pages.ts'
import type { ReadError, RecordedEvent } from '../../store/event-store.ts'
import { canonicalJson } from '../proofs/canonical.ts'
import type { Keys } from '../proofs/keyring.ts'
import { type Manifest, seal } from '../proofs/statements.ts'
import {
  ARTIFACTS,
  type BundlePart,
  KEYS,
  MANIFEST,
  PROOF,
  README,
  RECORDS,
  REDACTIONS_FILE,
  readme,
} from './bundle-format.ts'
import { eventLine } from './record-line.ts'
import { placeOf, type RedactionsOfRun, redactionsOf } from './redactions-of.ts'
import { packed } from './tar.ts'

export type ExportDeps = {
  readonly store: StreamReader
  readonly artifacts: ArtifactSource
  readonly keys: Keys
  readonly now: Date
}

type Part = Manifest['parts'][number]

export type ExportError =
  | ReadError
  /** Each time that the run was read for the second time, more had been redacted from it. */
  | { readonly type: 'redacted_meanwhile'; readonly message: string }

/**
 * Exports the records that the proof speaks of as a .tar.gz, at constant memory: the run is read
 * twice, since the archive and its manifest name sizes and hashes before the contents. What is stored
 * is exported as it is; whether it holds is for the verifier to say. A redaction between the two readings
 * begins the export again, unless a part of it was handed out: then it breaks off.
 */
export function exportRun(deps: ExportDeps, proof: RunProof): ResultAsync<Readable, ExportError> {
  const make = async (): Promise<Result<Readable, ExportError>> => {
    for (let attempts = 1; ; attempts += 1) {
      const archive = await makeArchive(deps, proof)
      if (archive.isErr()) return err(archive.error)
      const begun = await withBeginning(archive.value)
      const again = begun.isErr() && begun.error.type === 'redacted_meanwhile'
      if (!again || attempts === READINGS) return begun
      await sleep(AGAIN_MS)
    }
  }
  return new ResultAsync(make())
}

/** An archive that cannot be finished. */
class Unfinished extends Error {
  override readonly name = 'Unfinished'
  readonly why: ExportError

  constructor(why: ExportError) {
    super(`the export cannot go on: ${JSON.stringify(why)}`)
    this.why = why
  }
}

const REDACTED_MEANWHILE = {
  type: 'redacted_meanwhile',
  message: 'something was redacted from the run while it was exported: export it again',
} as const

/** Of an archive this much is made before any of it is handed out, bytes. */
const HELD_BYTES = 256 * 1024

/** The archive, once it is begun. */
async function withBeginning(archive: Readable): Promise<Result<Readable, ExportError>> {
  const chunks: AsyncIterator<Buffer> = archive.iterator()
  const held: Buffer[] = []
  try {
    for (let bytes = 0; bytes < HELD_BYTES; ) {
      const next = await chunks.next()
      if (next.done === true) break
      held.push(next.value)
      bytes += next.value.length
    }
  } catch (cause) {
    if (cause instanceof Unfinished) return err(cause.why)
    throw cause
  }
  const whole = Readable.from(continued(held, chunks), { objectMode: false })
  // Whoever reads it may leave before its end.
  return ok(whole.once('close', () => archive.destroy()))
}

async function* continued(
  held: readonly Buffer[],
  chunks: AsyncIterator<Buffer>,
): AsyncGenerator<Buffer> {
  yield* held
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    yield next.value
  }
}

async function makeArchive(
  deps: ExportDeps,
  proof: RunProof,
): Promise<Result<Readable, ReadError>> {
  const { keys, now } = deps
  const scanned = await scanAtRest(deps, proof)
  if (scanned.isErr()) return err(scanned.error)
  const { records, referenced, lines, taken } = scanned.value
  const { present, missing } = await lookUp(deps.artifacts, referenced, taken)
  const files = [
    textPart(README, readme(proof.run_id)),
    textPart(KEYS, jsonFile(keys.published)),
    textPart(PROOF, jsonFile(proof)),
    ...(lines === '' ? [] : [textPart(REDACTIONS_FILE, lines)]),
  ]
  const manifest = seal<Manifest>(
    {
      type: 'retrai.export.v1',
      run_id: proof.run_id,
      records: proof.length,
      exported_at: now.toISOString(),
      parts: [...files.map(({ part }) => part), records, ...present],
      missing_artifacts: missing,
    },
    keys.signer,
  )
  const first = textPart(MANIFEST, jsonFile(manifest))
  return ok(packed(partsOf(deps, proof, [first, ...files], records, present), now))
}

const jsonFile = (value: object): string => `${canonicalJson(value)}\n`

type TextPart = { readonly part: Part; readonly content: Buffer }

function textPart(path: string, text: string): TextPart {
  const content = Buffer.from(text)
  return { part: { path, bytes: content.length, sha256: sha256(content) }, content }
}

/** How often and after how many milliseconds a run is read again from which something is being taken. */
const [READINGS, AGAIN_MS] = [5, 100] as const

/** The first reading, and the redactions that go with it: none is recorded that is not carried out yet. */
async function scanAtRest(
  deps: ExportDeps,
  proof: RunProof,
): Promise<Result<Scanned & RedactionsOfRun, ReadError>> {
  for (let readings = 1; ; readings += 1) {
    const scanned = await scan(deps, proof)
    if (scanned.isErr()) return err(scanned.error)
    // Behind the records: what is taken out of them was recorded before.
    const { referenced, gone } = scanned.value
    const redactions = await redactionsOf(deps.store, proof.run_id, referenced)
    if (redactions.isErr()) return err(redactions.error)
    const isAtRest = redactions.value.places.every((place) => gone.has(place))
    if (isAtRest || readings === READINGS) return ok({ ...scanned.value, ...redactions.value })
    await sleep(AGAIN_MS)
  }
}

type Scanned = {
  readonly records: Part
  readonly referenced: readonly string[]
  /** Places of strings that were taken out. */
  readonly gone: ReadonlySet<string>
}

/** The first reading: size and hash of the records, and the artifacts that they name. */
async function scan(
  { store }: ExportDeps,
  { run_id, length }: RunProof,
): Promise<Result<Scanned, ReadError>> {
  const hash = createHash('sha256')
  const referenced = new Set<string>()
  const gone = new Set<string>()
  let bytes = 0
  for await (const page of firstEvents(store, streamOf(run_id), length)) {
    if (page.isErr()) return err(page.error)
    const content = linesOf(page.value)
    hash.update(content)
    bytes += content.length
    for (const event of page.value) {
      const artifact = artifactNamed(event)
      if (artifact !== null) referenced.add(artifact)
      for (const pointer of pointersGone(event)) gone.add(placeOf(event.revision, pointer))
    }
  }
  const records = { path: RECORDS, bytes, sha256: hash.digest('hex') }
  return ok({ records, referenced: [...referenced].sort(), gone })
}

const linesOf = (events: readonly RecordedEvent[]): Buffer =>
  Buffer.from(events.map((event) => `${eventLine(event)}\n`).join(''))

const Named = z.object({ payload: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }) })

function artifactNamed({ type, data }: RecordedEvent): string | null {
  if (type !== 'tool_result') return null
  try {
    return Named.safeParse(JSON.parse(data)).data?.payload.sha256 ?? null
  } catch {
    return null
  }
}

const Gone = z.object({ redacted: z.record(z.string(), z.string()) })

function pointersGone({ metadata }: RecordedEvent): string[] {
  if (!metadata.includes('"redacted"')) return []
  try {
    return Object.keys(Gone.safeParse(JSON.parse(metadata)).data?.redacted ?? {})
  } catch {
    return []
  }
}

async function lookUp(
  artifacts: ArtifactSource,
  names: readonly string[],
  taken: ReadonlySet<string>,
): Promise<{ present: Part[]; missing: string[] }> {
  const present: Part[] = []
  const missing: string[] = []
  for (const name of names) {
    const found = await artifacts.read(name)
    if (found === null) {
      if (!taken.has(name)) missing.push(name)
      continue
    }
    // By its own contents: a file that was changed must not stop the export, but be found.
    const hash = createHash('sha256')
    for await (const chunk of found.stream) hash.update(chunk)
    present.push({ path: `${ARTIFACTS}${name}`, bytes: found.bytes, sha256: hash.digest('hex') })
  }
  return { present, missing }
}

async function* partsOf(
  { store, artifacts }: ExportDeps,
  { run_id, length }: RunProof,
  files: readonly TextPart[],
  records: Part,
  present: readonly Part[],
): AsyncGenerator<BundlePart> {
  for (const { part, content } of files) yield { ...part, body: once(content) }
  yield { ...records, body: recordBody(store, run_id, length, records) }
  for (const part of present) {
    const found = await artifacts.read(part.path.slice(ARTIFACTS.length))
    if (found === null) throw new Unfinished(REDACTED_MEANWHILE)
    yield { ...part, body: found.stream }
  }
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content
}

async function* recordBody(
  store: StreamReader,
  runId: string,
  length: number,
  { bytes, sha256 }: Pick<Part, 'bytes' | 'sha256'>,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let left = bytes
  for await (const page of firstEvents(store, streamOf(runId), length)) {
    if (page.isErr()) throw new Unfinished(page.error)
    const content = linesOf(page.value)
    hash.update(content)
    left -= content.length
    // An archive takes no more of a part than it was announced to have.
    if (left < 0) break
    yield content
  }
  if (left === 0 && hash.digest('hex') === sha256) return
  throw new Unfinished(REDACTED_MEANWHILE)
}
