import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { ResultAsync } from 'neverthrow'
import type { PersonCommand } from '../domain/commands.ts'
import { handleCommand } from '../log/handle-command.ts'
import type { LoadedRun } from '../log/run-log.ts'
import type { AppDeps } from './deps.ts'
import { commandProblem } from './problems/command-problem.ts'
import type { Problem } from './problems/problem.ts'
import { PROJECTION_WAIT_MS } from './projection-wait.ts'

/**
 * Carries out a person's command on a run. The answer comes when the read model shows it, so that a
 * client finds what it did, or when that takes too long.
 */
export function command(
  { store, readModel, clock }: Pick<AppDeps, 'store' | 'readModel' | 'clock'>,
  request: FastifyRequest,
  runId: string,
  wanted: PersonCommand,
): ResultAsync<LoadedRun, Problem> {
  return handleCommand(store, runId, wanted, {
    author: { commandId: randomUUID(), principal: request.principal },
    now: clock,
    snapshot: readModel.get(runId),
  })
    .mapErr((error) => {
      const problem = commandProblem(error)
      if (['store_failed', 'damaged_record', 'busy'].includes(problem.code)) {
        request.log.error({ run_id: runId, error }, 'a command failed')
      }
      return problem
    })
    .andThen((run) => {
      const { seq } = run.state
      return ResultAsync.fromSafePromise(
        readModel.waitFor(runId, seq, PROJECTION_WAIT_MS).then(() => run),
      )
    })
}
