import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { RunHold } from '../../api/retention.ts'
import { GetRunQuery, ListRunsQuery } from '../../api/run-requests.ts'
import { RunDetails, RunSummary } from '../../api/runs.ts'
import { SearchQuery, type SearchResult, SearchResults } from '../../api/search.ts'
import { present } from '../../domain/present.ts'
import { type SearchQuery as Query, snippetOf } from '../../domain/search-query.ts'
import { isWaiting, type RunState, startedBy } from '../../domain/state.ts'
import { subagentCalls } from '../../domain/subagent-state.ts'
import { decode } from '../../log/codec.ts'
import { type LoadedRun, streamOf } from '../../log/run-log.ts'
import { eventAt, lastEvent } from '../../log/stream-pages.ts'
import type { RunPage } from '../../projections/read-model.ts'
import type { SearchHit } from '../../projections/search/search-file.ts'
import { searchedText } from '../../projections/search/searched-text.ts'
import { runDetails } from '../../queries/run-details.ts'
import { stateAt } from '../../queries/run-history.ts'
import type { StoreFailure } from '../../store/event-store.ts'
import { type AppDeps, PROJECTION_WAIT_MS, type Redactions } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { isRedacted, originsOf } from '../origin.ts'
import { invalidField, orProblem, type Refusal } from '../problems/problem-of.ts'
import { jsonOnce, nextLink, sendJson } from '../replies/json.ts'

const rowsOf = jsonOnce(({ runs }: RunPage) => runs)

/** The list of runs, and one of them. */
export function runs(app: FastifyInstance, deps: AppDeps): void {
  operation(app, 'GET /api/runs', {
    needs: 'runs:read',
    id: 'listRuns',
    tag: 'runs',
    summary: 'List runs, newest first unless another order is named',
    description: 'All filters that are set must hold.',
    query: ListRunsQuery,
    answers: {
      200: described(
        'One page. If there are more, the Link header holds the address of the next: `<…>; rel="next"`.',
        z.array(RunSummary),
      ),
    },
    handle: (request, reply) => {
      const page = deps.readModel.list(request.query)
      if (page === null) {
        const message =
          'cursor does not belong to this list. Use the one in the Link header of a page, with the same query.'
        return err(invalidField('cursor', message))
      }
      if (page.next !== null) reply.header('link', nextLink(request.url, 'cursor', page.next))
      if (page.runs.every(({ status }) => status !== 'queued')) return sendJson(reply, rowsOf(page))
      return page.runs.map((run) => {
        return { ...run, ...present({ queue_position: deps.queuePosition(run.run_id) }) }
      })
    },
  })
  operation(app, 'GET /api/runs/:run_id', {
    needs: 'runs:read',
    id: 'getRun',
    tag: 'runs',
    summary: 'Read a run',
    description:
      'The ETag is the revision of the run, which is the seq of its last record, with those of the sub-agents that ' +
      'it waits for. ' +
      'With it in If-None-Match, the answer is 304 if the run has no newer record. With `at`, ' +
      'the answer is the run after that record, without an ETag.',
    query: GetRunQuery,
    answers: {
      200: described('The run', RunDetails),
      304: z.undefined().describe('The client has this already'),
    },
    handle: async (request, reply) => {
      const { at } = request.query
      if (at !== undefined)
        return (await stateAt(request.runId, at, deps)).map((it) => runDetails(it))
      const found = await findProjected(request.runId, deps)
      return found.map((run) => sendRun(request, reply, run, deps))
    },
  })
}

/**
 * The entity tag of a run. Each time a text of one is redacted, what was derived from it changes. Call it
 * before the reply is read: a tag that is too old only makes the client ask again.
 * @param name the revision that the reply is about
 */
export function entityTag(name: string, runIds: readonly string[], redactions: Redactions): string {
  const redacted = runIds.flatMap((id) => redactions.ofRun(id))
  if (redacted.length === 0) return `"${name}"`
  // Until then, the reply may still hold the text.
  const isPending = runIds.some((id) => redactions.isPending(id))
  return `"${name}-r${redacted.length}${isPending ? '-pending' : ''}"`
}

/** Adds the tag to the reply. @returns whether the client has this version already, so that 304 is enough */
function isKnown(request: FastifyRequest, reply: FastifyReply, etag: string): boolean {
  reply.header('etag', etag)
  const known = request.headers['if-none-match']
  if (known === undefined) return false
  // RFC 9110 compares weakly here.
  const tags = known.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return tags.includes('*') || tags.includes(etag)
}

const detailsOf = jsonOnce((state: RunState) => runDetails(state))

function sendRun(
  request: FastifyRequest,
  reply: FastifyReply,
  { state }: LoadedRun,
  { readModel, redactions, retention }: AppDeps,
): FastifyReply {
  const waited = waitedFor(state, readModel)
  const later = readModel.laterTags(state.runId)
  const hold = retention.holdOf(state.runId)
  const origins = originsOf(state, readModel)
  const shown = [state, ...waited]
  const tags = later === null ? '' : `t${later.revision}`
  const held = hold === undefined ? '' : `-h${hold.entry}`
  const name = `${shown.map(({ seq }) => seq).join('+')}${tags}${held}`
  const runIds = [...shown.map(({ runId }) => runId), ...origins.map(({ run_id }) => run_id)]
  const tag = entityTag(name, runIds, redactions)
  if (isKnown(request, reply, tag)) return reply.code(304).send()
  const isWhole = !isRedacted(origins, redactions)
  const isPlain = waited.length === 0 && later === null && hold === undefined
  if (isPlain && isWhole) return sendJson(reply, detailsOf(state))
  const now = { ...present({ tags: later?.tags }), ...(hold && { hold: RunHold.parse(hold) }) }
  const details = { ...runDetails(state, waited), ...now }
  return reply.send(isWhole ? details : { ...details, origin_redacted: true })
}

/**
 * The run of the sub-agent that a run waits for, the run that this one waits for, and so on. If several work side by side:
 * one that waits for a person, or else the first.
 */
function waitedFor(state: RunState, readModel: AppDeps['readModel']): readonly RunState[] {
  const calls = subagentCalls(state)
  if (calls.length === 0) return []
  const chains = calls.flatMap(({ call_id }) => {
    const subagent = startedBy(state, call_id)
    const run = subagent === null ? null : readModel.get(subagent.run_id)
    return run === null ? [] : [[run.state, ...waitedFor(run.state, readModel)]]
  })
  const asking = chains.find((chain) => chain.some(isWaiting))
  return asking ?? chains[0] ?? []
}

/** One that is not in the read model yet is found once it is projected, unless this takes too long. */
async function findProjected(
  runId: string,
  { store, readModel }: AppDeps,
): Promise<Result<LoadedRun, Refusal>> {
  const known = readModel.get(runId)
  if (known !== null) return ok(known)
  const last = await lastEvent(store, streamOf(runId))
  if (last.isErr()) return err(last.error)
  await readModel.waitFor(runId, 0, PROJECTION_WAIT_MS)
  return orProblem({ code: 'not_projected' })(readModel.get(runId))
}

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
