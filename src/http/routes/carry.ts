import type * as z from 'zod'
import { CarriedFiles } from '../../api/changes.ts'
import type { Problem } from '../../api/problems.ts'
import { AbortRun, ApplyRun, RollbackRun, RunParams } from '../../api/run-requests.ts'
import { RunAndStatus } from '../../api/runs.ts'
import { statusOf } from '../../domain/state.ts'
import type { Author } from '../../log/run-log.ts'
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
type Described<Body extends z.ZodType, T extends { readonly seq?: number }> = {
  readonly name: 'rollback' | 'apply' | 'discard'
  readonly summary: string
  readonly description: string
  readonly body: Body
  readonly answer: z.ZodType
  readonly act: (runId: string, body: z.output<Body>, by: Author) => CarryResult<T>
  readonly shown: (done: T) => object
}

const HOW =
  'If one file is neither as it is known nor as it is to be, nothing is written, and the answer (409) names each. No other run ' +
  'may hold the folder. The decision is a record of the run, also after its end.'

/** POST /api/runs/{run_id}/rollback, /apply and /discard: what is done with what a run did to files. */
export function carry(app: ZodApp, places: Places): void {
  const { carrier } = places
  const files = { answer: CarriedFiles, shown: (done: CarriedFiles) => done }
  carrying(app, places, {
    ...{ name: 'rollback', body: RollbackRun, ...files },
    summary: 'Make the files of the project those of an earlier snapshot',
    description: `Only files are written in which that snapshot and the last one of the run differ. ${HOW}`,
    act: (id, body, by) => carrier.rollback(id, body, by),
  })
  carrying(app, places, {
    ...{ name: 'apply', body: ApplyRun, ...files },
    summary: 'Carry what a run did in its copy over to the project',
    description: `${HOW} As \`files\`, the copy of a run that has ended is removed afterwards.`,
    act: (id, body, by) => carrier.apply(id, body, by),
  })
  carrying(app, places, {
    ...{ name: 'discard', body: AbortRun, answer: RunAndStatus },
    summary: 'Remove the copy that a run has worked in',
    description:
      'Only after the end of the run. What its snapshots hold can still be applied. The decision is a record of the run.',
    act: (id, body, by) => carrier.discard(id, body, by),
    shown: (state) => ({ run_id: state.runId, status: statusOf(state) }),
  })
}

function carrying<Body extends z.ZodType, T extends { readonly seq?: number }>(
  app: ZodApp,
  { readModel }: Places,
  { name, summary, description, body, answer, act, shown }: Described<Body, T>,
): void {
  app.route({
    method: 'POST',
    url: `/api/runs/:run_id/${name}`,
    config: { needs: 'runs:create' },
    schema: {
      ...{
        operationId: `${name}Run`,
        tags: ['runs'],
        summary,
        description,
        params: RunParams,
        body,
      },
      response: {
        200: described('It is done, or what would be', answer),
        ...problems(
          ...(['invalid_request', 'run_not_found', 'snapshot_not_found', 'run_at_work'] as const),
          ...([
            'folder_in_use',
            'in_conflict',
            'not_carried',
            'no_copy',
            'seen_otherwise',
          ] as const),
          ...COMMAND_PROBLEMS,
        ),
      },
    },
    handler: async (request, reply) => {
      const { runId } = request
      const done = await act(runId, request.body as z.output<Body>, authorOf(request))
      const { seq } = done.unwrapOr({ seq: undefined })
      // The client then finds there what was recorded.
      if (seq !== undefined) await readModel.waitFor(runId, seq, PROJECTION_WAIT_MS)
      const told = done.map(shown).mapErr((error): Problem => commandProblem(error))
      return sendResult(request, reply, told)
    },
  })
}
