import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import type { Problem } from '../../api/problems.ts'
import { RunHold } from '../../api/retention.ts'
import { GetRunQuery, ListRunsQuery, RunParams } from '../../api/run-requests.ts'
import { RunDetails, RunSummary } from '../../api/runs.ts'
import type { Origin } from '../../domain/origin.ts'
import { present } from '../../domain/present.ts'
import { isWaiting, type RunState, startedBy } from '../../domain/state.ts'
import { subagentCalls } from '../../domain/subagent-state.ts'
import { type LoadedRun, streamOf } from '../../log/run-log.ts'
import type { LaterTags, RunPage } from '../../projections/read-model.ts'
import { runDetails } from '../../queries/run-details.ts'
import { stateAt } from '../../queries/run-history.ts'
import { type AppDeps, PROJECTION_WAIT_MS, type ZodApp } from '../deps.ts'
import { isRedacted, originsOf } from '../origin.ts'
import { described, problems, sendProblem } from '../problems/problem.ts'
import { commandProblem, invalidField, queryProblem } from '../problems/problem-of.ts'
import { entityTag, isKnown } from '../replies/conditional.ts'
import { jsonOnce, nextLink, sendJson } from '../replies/json.ts'
import { HISTORY_PROBLEMS, UNCHANGED } from './history.ts'

export const runs = [listRuns, getRun]

const rowsOf = jsonOnce(({ runs }: RunPage) => runs)

/** GET /api/runs */
function listRuns(app: ZodApp, { readModel, queuePosition }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/runs',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listRuns',
      tags: ['runs'],
      summary: 'List runs, newest first unless another order is named',
      description: 'All filters that are set must hold.',
      querystring: ListRunsQuery,
      response: {
        200: described(
          'One page. If there are more, the Link header holds the address of the next: `<…>; rel="next"`.',
          z.array(RunSummary),
        ),
        ...problems('invalid_request'),
      },
    },
    handler: async (request, reply) => {
      const page = readModel.list(request.query)
      if (page === null) {
        const message =
          'cursor does not belong to this list. Use the one in the Link header of a page, with the same query.'
        return sendProblem(request, reply, invalidField('cursor', message))
      }
      if (page.next !== null) reply.header('link', nextLink(request.url, 'cursor', page.next))
      if (page.runs.every(({ status }) => status !== 'queued')) return sendJson(reply, rowsOf(page))
      return page.runs.map((run) => {
        return { ...run, ...present({ queue_position: queuePosition?.(run.run_id) }) }
      })
    },
  })
}

/** GET /api/runs/{run_id} */
function getRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/runs/:run_id',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'getRun',
      tags: ['runs'],
      summary: 'Read a run',
      description:
        'The ETag is the revision of the run, which is the seq of its last record, with those of the sub-agents that ' +
        'it waits for. ' +
        'With it in If-None-Match, the answer is 304 if the run has no newer record. With `at`, ' +
        'the answer is the run after that record. That changes only if a text of the run is redacted; ' +
        'then the ETag changes too.',
      params: RunParams,
      querystring: GetRunQuery,
      response: {
        200: described('The run', RunDetails),
        304: UNCHANGED,
        ...problems('invalid_request', 'not_projected', 'run_removed', ...HISTORY_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { runId } = request
      const { at } = request.query
      if (at !== undefined) return sendStateAt(request, reply, at, deps)
      const found = deps.readModel.get(runId) ?? (await newRun(runId, deps))
      return 'code' in found
        ? sendProblem(request, reply, found)
        : sendRun(request, reply, found, deps)
    },
  })
}

/** What the details of a run are made of: it and the runs that it waits for, and the tags that it was given. */
export const revisionOf = (
  states: readonly Pick<RunState, 'seq'>[],
  later: LaterTags | null,
): string =>
  `${states.map(({ seq }) => seq).join('+')}${later === null ? '' : `t${later.revision}`}`

const idsOf = (origins: readonly Origin[]): readonly string[] => origins.map(({ run_id }) => run_id)

const detailsOf = jsonOnce((state: RunState) => runDetails(state))

function sendRun(
  request: FastifyRequest,
  reply: FastifyReply,
  { state }: LoadedRun,
  { readModel, redactions, retention }: AppDeps,
): FastifyReply {
  const waited = waitedFor(state, readModel)
  const later = readModel.laterTags(state.runId)
  const hold = retention?.holdOf(state.runId)
  const revision = revisionOf([state, ...waited], later)
  const name = hold === undefined ? revision : `${revision}-h${hold.entry}`
  const origins = originsOf(state, readModel)
  const runIds = [...[state, ...waited].map(({ runId }) => runId), ...idsOf(origins)]
  const tag = entityTag(name, runIds, redactions)
  if (isKnown(request, reply, tag)) return reply.code(304).send()
  const isWhole = !isRedacted(origins, redactions)
  const isPlain = waited.length === 0 && later === null && hold === undefined
  if (isPlain && isWhole) return sendJson(reply, detailsOf(state))
  const now = { ...present({ tags: later?.tags }), ...(hold && { hold: RunHold.parse(hold) }) }
  const details = { ...runDetails(state, waited), ...now }
  return reply.send(isWhole ? details : { ...details, origin_redacted: true })
}

async function sendStateAt(
  request: FastifyRequest,
  reply: FastifyReply,
  at: number,
  deps: AppDeps,
): Promise<FastifyReply> {
  const tag = entityTag(at, [request.runId], deps.redactions)
  const found = await stateAt(request.runId, at, deps)
  if (found.isErr()) return sendProblem(request, reply, queryProblem(found.error))
  const known = isKnown(request, reply, tag, { stays: true })
  return known ? reply.code(304).send() : reply.send(runDetails(found.value))
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

/** A run that is not in the read model yet, once it is projected; a problem if it does not exist, or if this takes too long. */
async function newRun(runId: string, { store, readModel }: AppDeps): Promise<LoadedRun | Problem> {
  const range = { from: 0, direction: 'forward', limit: 1 } as const
  const first = await store.readStream(streamOf(runId), range)
  if (first.isErr()) return commandProblem(first.error)
  await readModel.waitFor(runId, 0, PROJECTION_WAIT_MS)
  return readModel.get(runId) ?? { code: 'not_projected' }
}
