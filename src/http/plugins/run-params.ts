import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { RunId, RunParams } from '../../api/run-id.ts'
import { sendProblem } from '../problems/problem.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The run that the address names, in lower case. Only under /api/runs/{run_id}. */
    runId: string
  }
}

/** Answers an address under /api/runs/{run_id} whose id is no UUID: there is no such run. */
export const runParams = fp(
  async (app) => {
    app.decorateRequest('runId', '')
    app.addHook('onRoute', (route) => {
      if (!route.url.startsWith('/api/runs/:run_id')) return
      // After validation, so that fields that are not valid are reported first.
      route.preHandler = [readRunId, ...[route.preHandler ?? []].flat()]
    })
  },
  { name: 'run-params', dependencies: ['security'] },
)

async function readRunId(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { run_id: given } = RunParams.parse(request.params)
  const runId = RunId.safeParse(given)
  if (!runId.success) return sendProblem(request, reply, { code: 'run_not_found' })
  request.runId = runId.data
  return undefined
}
