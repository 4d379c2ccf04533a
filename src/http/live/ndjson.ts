import { Backoff } from '../../lib/backoff.ts'
import { ProblemError } from '../problems/problem.ts'
import type { AllRunsSelection } from './all-runs-selection.ts'
import type { AllRunsTopic } from './all-runs-topic.ts'
import { damageMessage, frameText, selects } from './record-json.ts'
import { CHUNK_BYTES, Chunks } from './response-streams.ts'
import { PageSize, pagesOf, type RunSelection } from './run-pages.ts'
import type { TopicDeps } from './shared-topic.ts'

/**
 * The selected records of a run as lines of JSON, up to the end of the run as it is now. Waits while the
 * store has trouble. @throws at a damaged record, and when `signal` aborts, so that a part never looks complete
 */
export async function* runLines(
  wanted: RunSelection,
  deps: TopicDeps,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const backoff = new Backoff(deps.limits.retryMs)
  const pageSize = new PageSize(deps.limits.pageBytes)
  let chunk = ''
  let { after, limit: left } = wanted
  for (let reading = true; reading; ) {
    reading = false
    for await (const page of pagesOf({ ...wanted, after }, pageSize, deps)) {
      signal.throwIfAborted()
      if (page.isErr()) {
        deps.log.warn(
          { run_id: wanted.runId, error: page.error },
          'cannot read a run, trying again',
        )
        await backoff.wait(signal)
        reading = true
        break
      }
      for (const record of page.value) {
        if (record.type === 'damage') {
          throw new ProblemError({ code: 'damaged_record', detail: damageMessage(record) })
        }
        after = record.seq
        if (!selects(wanted.selection, record.kind, record.json)) continue
        chunk += `${frameText(record)}\n`
        left -= 1
        if (chunk.length >= CHUNK_BYTES) {
          yield Buffer.from(chunk)
          chunk = ''
        }
        if (left === 0) break
      }
      if (left === 0) break
    }
  }
  signal.throwIfAborted()
  if (chunk !== '') yield Buffer.from(chunk)
}

/**
 * The selected records of all runs as lines of JSON, up to the end of the log as it is now.
 * @throws when `signal` aborts, so that a part never looks complete
 */
export async function* allRunsLines(
  { start, filter, form, limit }: AllRunsSelection & { readonly limit: number },
  topic: AllRunsTopic,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const chunks = new Chunks()
  let left = limit
  for await (const frames of topic.history(start.position, form, signal)) {
    for (const frame of await filter.select(frames, left)) {
      chunks.add(frame.data)
      chunks.addText('\n')
      left -= 1
      if (chunks.full) yield chunks.take()
    }
    if (left === 0) break
  }
  signal.throwIfAborted()
  if (!chunks.empty) yield chunks.take()
}
