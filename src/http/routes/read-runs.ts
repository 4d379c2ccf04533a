import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import type { Problem } from '../../api/problems.ts'
import { GetRunQuery, ListRunsQuery, RunParams } from '../../api/run-queries.ts'
import { RunDetails, RunSummary } from '../../api/runs.ts'
import { isWaiting, type RunState, startedBy } from '../../domain/state.ts'
import { subagentCalls } from '../../domain/subagent-state.ts'
import { type LoadedRun, streamOf } from '../../log/run-log.ts'
import type { RunPage } from '../../projections/read-model.ts'
import { runDetails } from '../../queries/run-details.ts'
import { type AppDeps, PROJECTION_WAIT_MS, type RunDeps, type ZodApp } from '../deps.ts'
import { described, problems, READ_PROBLEMS, sendProblem } from '../problems/problem.ts'
import { commandProblem, invalidField, queryProblem } from '../problems/problem-of.ts'
import { entityTag, isKnown, isKnownStill } from '../replies/conditional.ts'
import { jsonOnce, sendJson } from '../replies/json.ts'

const rowsOf = jsonOnce(({ runs }: RunPage) => runs)

/** GET /api/runs */
export function listRuns(app: ZodApp, { readModel }: AppDeps): void {
  app.route({
    method: 'GET',
    url: '/api/runs',
    config: { needs: 'runs:read' },
    schema: {
      operationId: 'listRuns',
      tags: ['runs'],
      summary: 'List runs, newest first',
      querystring: ListRunsQuery,
      response: {
        200: described(
          'One page. If there are more, the Link header holds the address of the next: `<…>; rel="next"`.',
          z.array(RunSummary),
        ),
        ...problems('invalid_request'),
      },
    },
    // Without a promise, because there is nothing to wait for. The framework would also wait for a reply that is returned.
    handler: (request, reply) => {
      const page = readModel.list(request.query)
      if (page === null) {
        const message =
          'cursor does not belong to this list. Use the one in the Link header of a page.'
        void sendProblem(request, reply, invalidField('cursor', message))
        return
      }
      const link = linkOf(page, request.query)
      if (link !== null) reply.header('link', link)
      void sendJson(reply, rowsOf(page))
    },
  })
}

/** By page, because the read model returns the same page for the same query, and for no other. */
const links = new WeakMap<RunPage, string>()

/** The Link header of a page; null on the last. */
function linkOf(page: RunPage, query: ListRunsQuery): string | null {
  if (page.next === null) return null
  const link = links.get(page) ?? nextLink(query, page.next)
  links.set(page, link)
  return link
}

function nextLink({ limit, status, goal, parent }: ListRunsQuery, cursor: string): string {
  const next = new URLSearchParams({ limit: String(limit), cursor })
  if (status !== undefined) next.set('status', status)
  if (goal !== undefined) next.set('goal', goal)
  if (parent !== undefined) next.set('parent', parent)
  return `</api/runs?${next}>; rel="next"`
}

/** GET /api/runs/{run_id} */
export function getRun(app: ZodApp, deps: RunDeps): void {
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
        304: z.undefined().describe('The run has no newer record'),
        ...problems(
          'invalid_request',
          'run_not_found',
          'record_not_found',
          'not_projected',
          ...READ_PROBLEMS,
        ),
      },
    },
    handler: (request, reply) => {
      const { runId } = request
      const { at } = request.query
      if (at !== undefined) return settle(reply, sendStateAt(request, reply, at, deps))
      const run = deps.readModel.get(runId)
      if (run !== null) return sendRun(request, reply, run, deps)
      const sent = newRun(runId, deps).then((found) => {
        if ('code' in found) void sendProblem(request, reply, found)
        else sendRun(request, reply, found, deps)
      })
      settle(reply, sent)
    },
  })
}

const detailsOf = jsonOnce((state: RunState) => runDetails(state))
const NONE: readonly RunState[] = []

function sendRun(
  request: FastifyRequest,
  reply: FastifyReply,
  { state }: LoadedRun,
  { readModel, redactions }: RunDeps,
): void {
  const waited = waitedFor(state, readModel)
  const name = [state, ...waited].map(({ seq }) => seq).join('+')
  const others = waited.map(({ runId }) => runId)
  const tag = entityTag(name, state.runId, redactions, others)
  if (isKnown(request, reply, tag)) void reply.code(304).send()
  else if (waited.length > 0) void reply.send(runDetails(state, waited))
  else void sendJson(reply, detailsOf(state))
}

async function sendStateAt(
  request: FastifyRequest,
  reply: FastifyReply,
  at: number,
  { history, redactions }: RunDeps,
): Promise<FastifyReply> {
  const tag = entityTag(at, request.runId, redactions)
  const found = await history.stateAt(request.runId, at)
  if (found.isErr()) return sendProblem(request, reply, queryProblem(found.error))
  const known = isKnownStill(request, reply, tag)
  return known ? reply.code(304).send() : reply.send(runDetails(found.value))
}

/** For a handler that makes no promise if there is nothing to wait for. */
const settle = (reply: FastifyReply, sent: Promise<unknown>): void =>
  void sent.catch((error: unknown) => reply.send(error))

/**
 * The run of the sub-agent that a run waits for, the run that this one waits for, and so on. If several work side by side:
 * one that waits for a person, or else the first.
 */
function waitedFor(state: RunState, readModel: AppDeps['readModel']): readonly RunState[] {
  const calls = subagentCalls(state)
  if (calls.length === 0) return NONE
  const chains = calls.flatMap(({ call_id }) => {
    const subagent = startedBy(state, call_id)
    const run = subagent === null ? null : readModel.get(subagent.run_id)
    return run === null ? [] : [[run.state, ...waitedFor(run.state, readModel)]]
  })
  const asking = chains.find((chain) => chain.some(isWaiting))
  return asking ?? chains[0] ?? NONE
}

/** A run that is not in the read model yet, once it is projected; a problem if it does not exist, or if this takes too long. */
async function newRun(runId: string, { store, readModel }: AppDeps): Promise<LoadedRun | Problem> {
  const first = await store.readStream(streamOf(runId), {
    from: 'start',
    direction: 'forward',
    limit: 1,
  })
  if (first.isErr()) return commandProblem(first.error)
  await readModel.waitFor(runId, 0, PROJECTION_WAIT_MS)
  return readModel.get(runId) ?? { code: 'not_projected' }
}
