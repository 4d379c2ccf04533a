import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { Checkpoint, PublishedKeys, RunHead } from '../../api/audit.ts'
import { LogState } from '../../api/log.ts'
import type { CheckpointLog } from '../../checkpoints/checkpoint-stream.ts'
import type { CosignedNote } from '../../checkpoints/witness/cosignatures.ts'
import { messageOf } from '../../lib/message-of.ts'
import { readTreeNote } from '../../lib/note-check.ts'
import { linesOf } from '../bundle/record-lines.ts'
import type { TrustedWitnesses } from './log-check.ts'
import type { Shown } from './witness-check.ts'

/** Why a server did not give something: `code` of its problem; null if it sent no problem document. */
type ServerFailure = { readonly code: string | null; readonly message: string }

/** What verification reads of a server. Errors are sentences for people. */
export type ServerReader = {
  /** @param path begins with a slash */
  json<T>(path: string, schema: z.ZodType<T>): Promise<Result<T, ServerFailure>>
  stream(path: string): Promise<Result<Readable, ServerFailure>>
  /** The ids of all runs that the server lists, newest first. */
  runs(): Promise<Result<readonly string[], string>>
}

/** What a server answers. */
export const read = async <T>(
  server: ServerReader,
  path: string,
  schema: z.ZodType<T>,
): Promise<Result<T, string>> => (await server.json(path, schema)).mapErr(({ message }) => message)

/** All checkpoints of a server, oldest first. */
export async function readCheckpoints(server: ServerReader): Promise<Result<Checkpoint[], string>> {
  const chain: Checkpoint[] = []
  for (;;) {
    const after = chain.at(-1)?.number ?? -1
    const path = `/api/checkpoints?limit=1000&after=${after}`
    const page = await read(server, path, z.array(Checkpoint))
    if (page.isErr()) return err(page.error)
    const [first] = page.value
    if (first === undefined) return ok(chain)
    if (first.number <= after) {
      return err(`The server sends checkpoint ${first.number} after ${after}.`)
    }
    chain.push(...page.value)
  }
}

/** The runs of a checkpoint, which the server gives apart from it. */
export async function withRuns(
  server: ServerReader,
  log: CheckpointLog | null,
): Promise<Result<CheckpointLog | null, string>> {
  if (log === null) return ok(null)
  const got = await server.stream(`/api/checkpoints/${log.checkpoint.number}/runs`)
  if (got.isErr()) return err(got.error.message)
  const heads = new Map<string, RunHead>()
  try {
    for await (const texts of linesOf(got.value)) {
      for (const text of texts) {
        const head = RunHead.parse(JSON.parse(text ?? ''))
        heads.set(head.run_id, head)
      }
    }
    return ok({ ...log, heads })
  } catch (cause) {
    return err(`The runs of a checkpoint cannot be read: ${messageOf(cause)}`)
  }
}

/** What a server shows of its witnesses: its newest note, and those that the trusted ones have signed. */
export const shownByServer = (
  server: ServerReader,
  { keys }: TrustedWitnesses,
): ResultAsync<Shown, string> =>
  safeTry(async function* () {
    const { size, witnesses } = yield* await read(server, '/api/log', LogState)
    const published = yield* await read(server, '/api/keys', PublishedKeys)
    const fingerprints = published.keys.map(({ fingerprint }) => fingerprint)
    const ofTrusted = witnesses.filter(({ name }) => keys.some((key) => key.name === name))
    const sizes = new Set([size, ...ofTrusted.flatMap((each) => each.size ?? [])])
    const notes: CosignedNote[] = []
    for (const each of sizes) {
      const got = await server.stream(`/api/log/checkpoint?size=${each}`)
      const note = readTreeNote(await text(yield* got.mapErr(({ message }) => message)))
      if (note === null) return err('The server answers with something else than a note.')
      notes.push({ ...note, keys: fingerprints })
    }
    // Read last, so that they reach as far as the notes.
    const checkpoints = yield* await readCheckpoints(server)
    const newest = checkpoints.filter(({ key }) => fingerprints.includes(key))[size - 1]
    return ok({ checkpoints, notes, newest })
  })
