import { CarriedFiles } from '../../api/changes.ts'
import type { Problem } from '../../api/problems.ts'
import { AbortRun, ApplyRun, RollbackRun, RunParams } from '../../api/run-requests.ts'
import { RunAndStatus } from '../../api/runs.ts'
import { statusOf } from '../../domain/state.ts'
import {
  type AppDeps,
  type Carrier,
  type CarryResult,
  PROJECTION_WAIT_MS,
  type ZodApp,
} from '../deps.ts'
import { COMMAND_PROBLEMS, described, problems, sendResult } from '../problems/problem.ts'
import { commandProblem } from '../problems/problem-of.ts'
import { authorOf } from './commands.ts'

type Places = Pick<AppDeps, 'readModel'> & { readonly carrier: Carrier }

/** What is done with what a run did to files. */
export function carry(app: ZodApp, places: Places): void {
  rollbackRun(app, places)
  applyRun(app, places)
  discardRun(app, places)
}

const CARRY_PROBLEMS = problems(
  ...(['invalid_request', 'run_not_found', 'snapshot_not_found', 'run_at_work'] as const),
  ...(['no_copy', 'folder_in_use', 'in_conflict', 'not_carried', 'seen_otherwise'] as const),
  ...COMMAND_PROBLEMS,
)
const WRITTEN = described('What was written, or would be', CarriedFiles)

const HOW =
  'If one file is neither as it is known nor as it is to be, nothing is written, and the answer (409) names each. No other run ' +
  'may hold the folder. The decision is a record of the run, also after its end.'

/** POST /api/runs/{run_id}/rollback */
function rollbackRun(app: ZodApp, deps: Places): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/rollback',
    config: { needs: 'runs:create' },
    schema: {
      operationId: 'rollbackRun',
      tags: ['runs'],
      summary: 'Make the files of the project those of an earlier snapshot',
      description: `Only files are written in which that snapshot and the last one of the run differ. ${HOW}`,
      params: RunParams,
      body: RollbackRun,
      response: { 200: WRITTEN, ...CARRY_PROBLEMS },
    },
    handler: async (request, reply) => {
      const { runId, body } = request
      const done = deps.carrier.rollback(runId, body, authorOf(request))
      return sendResult(
        request,
        reply,
        shown(done, runId, deps, ({ seq }) => seq),
      )
    },
  })
}

/** POST /api/runs/{run_id}/apply */
function applyRun(app: ZodApp, deps: Places): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/apply',
    config: { needs: 'runs:create' },
    schema: {
      operationId: 'applyRun',
      tags: ['runs'],
      summary: 'Carry what a run did in its copy over to the project',
      description: `${HOW} As \`files\`, the copy of a run that has ended is removed afterwards.`,
      params: RunParams,
      body: ApplyRun,
      response: { 200: WRITTEN, ...CARRY_PROBLEMS },
    },
    handler: async (request, reply) => {
      const { runId, body } = request
      const done = deps.carrier.apply(runId, body, authorOf(request))
      return sendResult(
        request,
        reply,
        shown(done, runId, deps, ({ seq }) => seq),
      )
    },
  })
}

/** POST /api/runs/{run_id}/discard */
function discardRun(app: ZodApp, deps: Places): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/discard',
    config: { needs: 'runs:create' },
    schema: {
      operationId: 'discardRun',
      tags: ['runs'],
      summary: 'Remove the copy that a run has worked in',
      description:
        'Only after the end of the run. What its snapshots hold can still be applied. The decision is a record of the run.',
      params: RunParams,
      body: AbortRun,
      response: { 200: described('The copy is removed', RunAndStatus), ...CARRY_PROBLEMS },
    },
    handler: async (request, reply) => {
      const { runId, body } = request
      const done = deps.carrier.discard(runId, body, authorOf(request))
      const state = await shown(done, runId, deps, ({ seq }) => seq)
      return sendResult(
        request,
        reply,
        state.map((run) => ({ run_id: runId, status: statusOf(run) })),
      )
    },
  })
}

/** The answer comes after the read model shows what was recorded, so that the client finds it there. */
async function shown<T>(
  carrying: CarryResult<T>,
  runId: string,
  { readModel }: Places,
  seqOf: (value: T) => number | undefined,
) {
  const done = await carrying
  const seq = done.map(seqOf).unwrapOr(undefined)
  if (seq !== undefined) await readModel.waitFor(runId, seq, PROJECTION_WAIT_MS)
  return done.mapErr((error): Problem => commandProblem(error))
}
