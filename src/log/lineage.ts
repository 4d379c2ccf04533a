import { err, ok, type Result } from 'neverthrow'
import type { Conversation } from '../domain/conversation.ts'
import { converse } from '../domain/converse.ts'
import type { Origin } from '../domain/related-runs.ts'
import { decode } from './codec.ts'
import { type LoadError, load, readRecords, streamOf } from './run-log.ts'
import { type StreamReader, streamPages } from './stream-pages.ts'

/** The runs that a run begins from, the oldest first, each up to the record from which the next one begins. */
async function lineageOf(
  store: StreamReader,
  runId: string,
): Promise<Result<readonly Origin[], LoadError>> {
  const found: Origin[] = []
  for (let id = runId; ; ) {
    const read = await readRecords(store, id, 0, 1)
    if (read.isErr()) return read.error.type === 'stream_not_found' ? ok(found) : err(read.error)
    const [first] = read.value
    const origin = first?.record.kind === 'run_created' ? first.record.payload.origin : undefined
    // Records that were forged can name each other in a circle.
    if (origin === undefined || found.some(({ run_id }) => run_id === origin.run_id)) {
      return ok(found)
    }
    found.unshift(origin)
    id = origin.run_id
  }
}

/** What a run begins with: the runs that it begins from, and their conversation; null without one. */
export type Beginning = {
  readonly lineage: readonly Origin[]
  readonly conversation: Conversation | null
}

/** A record that a run begins from, and that is not there any more, is a damaged one. */
export async function beginningOf(
  store: StreamReader,
  runId: string,
): Promise<Result<Beginning, LoadError>> {
  const lineage = await lineageOf(store, runId)
  if (lineage.isErr()) return err(lineage.error)
  let conversation: Conversation | null = null
  for (const { run_id, seq, hash } of lineage.value) {
    const run = await load(store, run_id, {
      to: seq,
      visit: ({ record }) => {
        conversation = converse(conversation, record)
      },
    })
    if (run.isErr()) return err(run.error)
    if (run.value?.head === hash) continue
    const message = 'another run begins from it, and it is not the record that it was'
    return err({ type: 'damaged_record', stream: streamOf(run_id), seq, message })
  }
  return ok({ lineage: lineage.value, conversation })
}

/** Whether a tool result of a run, or of one that it begins from, up to there, names an artifact. */
export async function namesArtifact(
  store: StreamReader,
  runId: string,
  sha256: string,
): Promise<Result<boolean, LoadError>> {
  const lineage = await lineageOf(store, runId)
  if (lineage.isErr()) return err(lineage.error)
  const own = { run_id: runId, seq: Number.POSITIVE_INFINITY }
  for (const { run_id, seq } of [own, ...lineage.value.toReversed()]) {
    for await (const page of streamPages(store, streamOf(run_id), { to: seq })) {
      if (page.isErr()) return err(page.error)
      for (const event of page.value) {
        if (event.type !== 'tool_result' || !event.data.includes(sha256)) continue
        const decoded = decode(event)
        if (decoded.isErr()) return err(decoded.error)
        const { record } = decoded.value
        if (record.kind === 'tool_result' && record.payload.sha256 === sha256) return ok(true)
      }
    }
  }
  return ok(false)
}
