import type { FastifyInstance } from 'fastify'
import { err, ResultAsync } from 'neverthrow'
import { SearchQuery, type SearchResult, SearchResults } from '../../api/search.ts'
import { type SearchQuery as Query, snippetOf } from '../../domain/search-query.ts'
import { decode } from '../../log/codec.ts'
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
      const found = searchResults(shown, query, { store, readModel })
      return found.map((results) => ({ results, next, behind: index.behind }))
    },
  })
}

/**
 * What was found, as the log shows it now. A record that does not hold the words any more, because they were redacted a
 * moment ago, is left out, and so is one that cannot be read.
 */
function searchResults(
  hits: readonly SearchHit[],
  query: Query,
  { store, readModel }: Pick<AppDeps, 'store' | 'readModel'>,
): ResultAsync<SearchResult[], StoreFailure> {
  const found = hits.map(({ runId, seq }) => eventAt(store, streamOf(runId), seq))
  return ResultAsync.combine(found).map((events) =>
    events.flatMap((event) => {
      const record = event && decode(event).unwrapOr(null)?.record
      const snippet = record && snippetOf(searchedText(record), query)
      if (!snippet) return []
      const { run_id, kind, iteration, ts } = record
      const { state } = readModel.get(run_id) ?? {}
      const title = state?.title ?? state?.config.goal ?? ''
      return [{ run_id, title, seq: event.revision, kind, iteration, ts, snippet }]
    }),
  )
}
