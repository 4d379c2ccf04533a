import { createReadStream } from 'node:fs'
import { access, constants, stat } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import { type BundlePart, firstSeqOf, RECORDS_V1 } from '../audit/bundle/bundle-format.ts'
import { BrokenArchive } from '../audit/bundle/inflate.ts'
import { type LineFormat, linesOf, readLine } from '../audit/bundle/record-lines.ts'
import { unpacked } from '../audit/bundle/tar.ts'
import type { AgentEvent } from '../client/index.ts'
import { messageOf } from '../lib/message-of.ts'
import { decodeParsed } from '../log/codec.ts'

/** An export in a file. Each call reads it from the beginning. */
type BundleFile = () => AsyncIterable<BundlePart>

export async function bundleFile(path: string): Promise<Result<BundleFile, string>> {
  try {
    await access(path, constants.R_OK)
    if ((await stat(path)).isDirectory())
      return err(`${path} is a folder, and an export is a file.`)
    return ok(() => unpacked(createReadStream(path)))
  } catch (cause) {
    const isMissing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    return err(
      isMissing ? `${path} does not exist.` : `${path} cannot be read: ${messageOf(cause)}.`,
    )
  }
}

/** A record of an export cannot be shown. `retrai verify` reports why. */
export class UnreadableExport extends Error {
  override readonly name = 'UnreadableExport'
}

/** Reads an archive to its end, so a part of a broken one is never shown. */
export async function readWhole(open: BundleFile): Promise<Result<void, string>> {
  try {
    for await (const { body } of open()) for await (const _ of body);
    return ok()
  } catch (cause) {
    if (!(cause instanceof BrokenArchive)) throw cause
    return err(`The file is not one whole export: ${cause.message}. "retrai verify" reports more.`)
  }
}

/** The records of an export after a seq, in order. @throws UnreadableExport */
export async function* bundleEvents(open: BundleFile, after: number): AsyncGenerator<AgentEvent> {
  let hasRecords = false
  for await (const { path, body } of open()) {
    const first = firstSeqOf(path)
    if (first !== null) {
      hasRecords = true
      yield* recordEvents(body, first, after, path === RECORDS_V1 ? 'checksummed' : 'plain')
    } else if (hasRecords) return
    else for await (const _ of body);
  }
  if (!hasRecords) throw new UnreadableExport('the archive holds no records')
}

async function* recordEvents(
  body: AsyncIterable<Uint8Array>,
  first: number,
  after: number,
  format: LineFormat,
): AsyncGenerator<AgentEvent> {
  let expected = first
  for await (const text of linesOf(body)) {
    const line = readLine(text, format)
    if (typeof line === 'string') throw new UnreadableExport(`record ${expected}: ${line}`)
    expected += 1
    if (line.seq <= after) continue
    const place = { stream: 'export', revision: line.seq }
    const decoded = decodeParsed(place, line.data, line.metadata)
    if (decoded.isErr()) throw new UnreadableExport(`record ${line.seq}: ${decoded.error.message}`)
    yield { ...decoded.value.record, seq: line.seq }
  }
}
