import { Backoff } from '../../lib/backoff.ts'
import { Refusal } from '../problems/problem.ts'
import { CHUNK } from './chunks.ts'
import { PageSize } from './page-size.ts'
import { damageOf } from './probe.ts'
import { pagesOf, type Wanted } from './run-pages.ts'
import { selects } from './selects.ts'
import { wholeText } from './text.ts'
import type { TopicDeps } from './topic.ts'

/**
 * The wanted records as lines of JSON, up to the end of the run as it is now. Store trouble is waited
 * out. @throws at a damaged record, and when `signal` aborts: what breaks off must not look complete
 */
export async function* runLines(
  wanted: Wanted,
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
      for (const entry of page.value) {
        if (entry.type === 'damage') {
          throw new Refusal({ code: 'damaged_record', detail: damageOf(entry) })
        }
        after = entry.seq
        if (!selects(wanted.selection, entry.kind, entry.json)) continue
        chunk += `${wholeText(entry)}\n`
        left -= 1
        if (chunk.length >= CHUNK) {
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
