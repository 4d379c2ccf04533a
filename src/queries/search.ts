import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import type { SearchResult } from '../api/search.ts'
import { type SearchQuery, snippetOf } from '../domain/search-query.ts'
import { titleOf } from '../domain/texts.ts'
import { decode, type LoggedRecord } from '../log/codec.ts'
import { streamOf } from '../log/run-log.ts'
import { eventAt, type StreamReader } from '../log/stream-pages.ts'
import type { SearchHit } from '../projections/search/search-file.ts'
import { searchedText } from '../projections/search/searched-text.ts'
import type { StoreFailure } from '../store/event-store.ts'

/**
 * What was found, as the log shows it now. A record that does not hold the words any more, because they were redacted a
 * moment ago, is left out, and so is one that cannot be read.
 */
export async function searchResults(
  hits: readonly SearchHit[],
  query: SearchQuery,
  store: StreamReader,
): Promise<Result<SearchResult[], StoreFailure>> {
  const read = (runId: string, seq: number): ResultAsync<LoggedRecord | null, StoreFailure> =>
    eventAt(store, streamOf(runId), seq).map((event) => event && decode(event).unwrapOr(null))
  const titles = new Map<string, string>()
  for (const { runId } of hits) {
    if (titles.has(runId)) continue
    const first = await read(runId, 0)
    if (first.isErr()) return err(first.error)
    const record = first.value?.record
    if (record?.kind !== 'run_created') continue
    const { instructions, config } = record.payload
    titles.set(runId, titleOf(instructions) ?? config.goal)
  }
  const records = await Promise.all(hits.map(({ runId, seq }) => read(runId, seq)))
  const results: SearchResult[] = []
  for (const logged of records) {
    if (logged.isErr()) return err(logged.error)
    if (logged.value === null) continue
    const { seq, record } = logged.value
    const snippet = snippetOf(searchedText(record), query)
    if (snippet === null) continue
    const { run_id, kind, iteration, ts } = record
    results.push({ run_id, title: titles.get(run_id) ?? '', seq, kind, iteration, ts, snippet })
  }
  return ok(results)
}
