import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { okAsync } from 'neverthrow'
import type { ArtifactSource } from '../../src/audit/artifact-source.ts'
import type { BundlePart } from '../../src/audit/bundle-format.ts'
import { exportRun } from '../../src/audit/export-run.ts'
import { type Keys, openKeyring } from '../../src/audit/keyring.ts'
import { proveRun } from '../../src/audit/prove-run.ts'
import type { RunReader } from '../../src/audit/run-pages.ts'
import { unpacked } from '../../src/audit/tar.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import type { RecordedEvent } from '../../src/store/event-store.ts'
import { prepare, streamOf } from '../../src/store/run-log.ts'

export const NOW = new Date('2026-02-18T12:00:00.000Z')

/** A part in memory, to be changed at will. */
export type Part = { readonly path: string; readonly content: Buffer }

/** A new key in a folder that is removed again. */
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

/** Reads from memory what a store would hold. */
function readerOf(events: readonly RecordedEvent[]): RunReader {
  return {
    readStream: (_stream, { from, direction, limit }) => {
      if (direction === 'backward') return okAsync(events.slice(-limit).reverse())
      const first = typeof from === 'number' ? from : 0
      return okAsync(events.slice(first, first + limit))
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

/** An export of these events, as an archive. */
export async function archiveOf(
  events: readonly RecordedEvent[],
  keys: Keys,
  artifacts: ReadonlyMap<string, Buffer> = new Map(),
): Promise<Buffer> {
  const runId = events[0]?.stream.slice('run-'.length) ?? ''
  const store = readerOf(events)
  const proof = (await proveRun(store, null, runId, keys.signer, NOW))._unsafeUnwrap()
  const deps = { store, artifacts: artifactsOf(artifacts), keys, now: NOW }
  const archive = (await exportRun(deps, proof))._unsafeUnwrap()
  return Buffer.concat(await archive.toArray())
}

/** An export of these events, taken apart. */
export async function exported(...args: Parameters<typeof archiveOf>): Promise<Part[]> {
  const parts: Part[] = []
  for await (const { path, body } of unpacked(Readable.from([await archiveOf(...args)]))) {
    parts.push({ path, content: Buffer.concat(await Readable.from(body).toArray()) })
  }
  return parts
}

export async function* partsOf(parts: readonly Part[]): AsyncGenerator<BundlePart> {
  for (const { path, content } of parts) {
    yield { path, bytes: content.length, body: Readable.from([content]) }
  }
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
