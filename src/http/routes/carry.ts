import type { FastifyInstance } from 'fastify'
import type * as z from 'zod'
import { CarriedFiles } from '../../api/changes.ts'
import { AbortRun, ApplyRun, RollbackRun, RunParams } from '../../api/run-requests.ts'
import { RunAndStatus } from '../../api/runs.ts'
import type { Author } from '../../log/run-log.ts'
import { type AppDeps, type CarryResult, PROJECTION_WAIT_MS } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { authorOf, standing } from './commands.ts'

type Carrying<Body extends z.ZodType, Done, Answer extends z.ZodType> = {
  readonly name: 'rollback' | 'apply' | 'discard'
  readonly summary: string
  readonly description: string
  readonly body: Body
  readonly answer: Answer
  readonly act: (runId: string, body: z.output<Body>, by: Author) => CarryResult<Done>
  readonly shown: (done: Done) => z.output<Answer>
}

const HOW =
  'If one file is neither as it is known nor as it is to be, nothing is written, and the answer (409) names each. No other run ' +
  'may hold the folder. The decision is a record of the run, also after its end.'

/** What is done with what a run did to files. */
export function carry(app: FastifyInstance, deps: AppDeps): void {
  const { carrier } = deps
  const files = { answer: CarriedFiles, shown: (done: CarriedFiles) => done }
  carrying(app, deps, {
    ...{ name: 'rollback', body: RollbackRun, ...files },
    summary: 'Make the files of the project those of an earlier snapshot',
    description: `Only files are written in which that snapshot and the last one of the run differ. ${HOW}`,
    act: (id, body, by) => carrier.rollback(id, body, by),
  })
  carrying(app, deps, {
    ...{ name: 'apply', body: ApplyRun, ...files },
    summary: 'Carry what a run did in its copy over to the project',
    description: `${HOW} As \`files\`, the copy of a run that has ended is removed afterwards, if snapshots hold all of its work.`,
    act: (id, body, by) => carrier.apply(id, body, by),
  })
  carrying(app, deps, {
    ...{ name: 'discard', body: AbortRun, answer: RunAndStatus, shown: standing },
    summary: 'Remove the copy that a run has worked in',
    description:
      'Only after the end of the run. What its snapshots hold can still be applied. The decision is a record of the run.',
    act: (id, body, by) => carrier.discard(id, body, by),
  })
}

function carrying<
  Body extends z.ZodType,
  Done extends { readonly seq?: number },
  Answer extends z.ZodType,
>(
  app: FastifyInstance,
  { readModel }: AppDeps,
  { name, summary, description, body, answer, act, shown }: Carrying<Body, Done, Answer>,
): void {
  operation(app, `POST /api/runs/:run_id/${name}`, {
    needs: 'runs:create',
    id: `${name}Run`,
    tag: 'runs',
    ...{ summary, description, params: RunParams, body },
    answers: { 200: described('It is done, or what would be', answer) },
    handle: async (request) => {
      const { runId } = request
      const done = await act(runId, request.body as z.output<Body>, authorOf(request))
      const { seq } = done.unwrapOr({ seq: undefined })
      // The client then finds there what was recorded.
      if (seq !== undefined) await readModel.waitFor(runId, seq, PROJECTION_WAIT_MS)
      return done.map(shown)
    },
  })
}
