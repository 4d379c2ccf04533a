import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { z } from 'zod'
import type { ReadError, RecordedEvent } from '../store/event-store.ts'
import type { ArtifactSource } from './artifact-source.ts'
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
import { canonicalJson, sha256 } from './canonical.ts'
import type { Keys } from './keyring.ts'
import { eventLine } from './record-line.ts'
import { placeOf, type RedactionsOfRun, redactionsOf } from './redactions-of.ts'
import { type RunReader, runPages } from './run-pages.ts'
import { type Manifest, seal } from './statements.ts'
import { packed } from './tar.ts'
import type { RunProof } from './views.ts'

export type ExportDeps = {
  readonly store: RunReader
  readonly artifacts: ArtifactSource
  readonly keys: Keys
  readonly now: Date
}

type Part = Manifest['parts'][number]

/**
 * Exports the records that the proof speaks of as a .tar.gz, at constant memory: the run is read
 * twice, since the archive and its manifest name sizes and hashes before the contents. What is stored
 * is exported as it is; whether it holds is for the verifier to say.
 */
export function exportRun(deps: ExportDeps, proof: RunProof): ResultAsync<Readable, ReadError> {
  const { keys, now } = deps
  const make = async (): Promise<Result<Readable, ReadError>> => {
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
  return new ResultAsync(make())
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
  for await (const page of runPages(store, run_id, length)) {
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
  yield { ...records, body: recordBody(store, run_id, length, records.sha256) }
  for (const part of present) {
    const found = await artifacts.read(part.path.slice(ARTIFACTS.length))
    if (found === null) throw new Error(`${part.path} is gone since the export began`)
    yield { ...part, body: found.stream }
  }
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content
}

async function* recordBody(
  store: RunReader,
  runId: string,
  length: number,
  sha256: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  for await (const page of runPages(store, runId, length)) {
    if (page.isErr()) throw new Error(`the export cannot go on: ${JSON.stringify(page.error)}`)
    const content = linesOf(page.value)
    hash.update(content)
    yield content
  }
  if (hash.digest('hex') === sha256) return
  throw new Error('something was taken out of the run since the export began: export it again')
}
