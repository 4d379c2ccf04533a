import type { FastifyInstance } from 'fastify'
import { err, ok, type Result, type ResultAsync } from 'neverthrow'
import { SearchQuery, type SearchResult, SearchResults } from '../../api/search.ts'
import { type SearchQuery as Query, snippetOf } from '../../domain/search-query.ts'
import { decode, type LoggedRecord } from '../../log/codec.ts'
import { streamOf } from '../../log/run-log.ts'
import { eventAt } from '../../log/stream-pages.ts'
import type { SearchHit } from '../../projections/search/search-file.ts'
import { searchedText } from '../../projections/search/searched-text.ts'
import type { StoreFailure } from '../../store/event-store.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'

/** Finds records by their words. */
export function search(app: FastifyInstance, { store, readModel, search: index }: AppDeps): void {
  operation(app, 'GET /api/search', {
    needs: 'runs:read',
    id: 'search',
    tag: 'history',
    summary: 'Search what was said, called, printed and changed',
    description:
      'In all runs or in one: messages and instructions, the tools that were called and their arguments, the ' +
      'head and the tail of what they printed, the paths of changed files, reasons and errors. The newest run ' +
      'comes first, within a run its records by seq. New records are found after about a second.',
    query: SearchQuery,
    answers: { 200: described('What was found', SearchResults) },
    handle: async (request) => {
      const { q: query, run_id: runId = null, kinds: asked, limit, cursor } = request.query
      const kinds = asked === undefined ? null : [...asked]
      const after = cursor === undefined ? null : BigInt.asIntN(64, BigInt(cursor))
      // One more than asked for: it decides whether there is a next page.
      const hits = await index.find({ query, runId, kinds, limit: limit + 1, after })
      if (hits === null) return err({ code: 'search_unavailable' })
      const shown = hits.slice(0, limit)
      const last = shown.at(-1)
      const next = hits.length > limit && last !== undefined ? String(last.at) : null
      const found = await searchResults(shown, query, { store, readModel })
      return found.map((results) => ({ results, next, behind: index.behind }))
    },
  })
}

/**
 * What was found, as the log shows it now. A record that does not hold the words any more, because they were redacted a
 * moment ago, is left out, and so is one that cannot be read.
 */
async function searchResults(
  hits: readonly SearchHit[],
  query: Query,
  { store, readModel }: Pick<AppDeps, 'store' | 'readModel'>,
): Promise<Result<SearchResult[], StoreFailure>> {
  const read = (runId: string, seq: number): ResultAsync<LoggedRecord | null, StoreFailure> =>
    eventAt(store, streamOf(runId), seq).map((event) => event && decode(event).unwrapOr(null))
  const records = await Promise.all(hits.map(({ runId, seq }) => read(runId, seq)))
  const titleOf = (runId: string) => {
    const { state } = readModel.get(runId) ?? {}
    return state?.title ?? state?.config.goal ?? ''
  }
  const results: SearchResult[] = []
  for (const logged of records) {
    if (logged.isErr()) return err(logged.error)
    if (logged.value === null) continue
    const { seq, record } = logged.value
    const snippet = snippetOf(searchedText(record), query)
    if (snippet === null) continue
    const { run_id, kind, iteration, ts } = record
    results.push({ run_id, title: titleOf(run_id), seq, kind, iteration, ts, snippet })
  }
  return ok(results)
}
