import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { okAsync, ResultAsync } from 'neverthrow'
import type { Problem } from '../../api/problems.ts'
import type { CommandOnRun } from '../../domain/commands.ts'
import { type CommandError, handleCommand } from '../../log/handle-command.ts'
import { type LoadedRun, load } from '../../log/run-log.ts'
import { type AppDeps, PROJECTION_WAIT_MS } from '../deps.ts'
import { callerOf } from '../plugins/security.ts'
import { commandProblem } from '../problems/problem-of.ts'

type Deps = Pick<AppDeps, 'store' | 'readModel' | 'clock'>

/** Carries out a person's command on a run. The result comes after the read model shows it. */
export function command(
  deps: Deps,
  request: FastifyRequest,
  wanted: CommandOnRun,
): ResultAsync<LoadedRun, Problem> {
  const { runId } = request
  const snapshot = deps.readModel.get(runId)
  const options = { author: authorOf(request), now: deps.clock, snapshot }
  return shown(deps, request, runId, handleCommand(deps.store, runId, wanted, options))
}

/** Who causes the records of a request. */
export const authorOf = (request: FastifyRequest) => ({
  commandId: randomUUID(),
  principal: callerOf(request).principal,
})

/** Waits until the read model shows a run as it is after a command, so that the client finds it there; for a bounded time. */
export function shown(
  { readModel }: Deps,
  request: FastifyRequest,
  runId: string,
  done: ResultAsync<LoadedRun, CommandError>,
): ResultAsync<LoadedRun, Problem> {
  return done
    .mapErr((error) => {
      const problem = commandProblem(error)
      if (['store_failed', 'damaged_record', 'busy'].includes(problem.code)) {
        request.log.error({ run_id: runId, error }, 'a command failed')
      }
      return problem
    })
    .andThen((run) => {
      const wait = readModel.waitFor(runId, run.state.seq, PROJECTION_WAIT_MS)
      return ResultAsync.fromSafePromise(wait.then(() => run))
    })
}

/** From the log if the read model does not have it: another server may have created it. */
export function findRun(
  { store, readModel }: Pick<AppDeps, 'store' | 'readModel'>,
  runId: string,
): ResultAsync<LoadedRun | null, Problem> {
  const known = readModel.get(runId)
  return known === null ? load(store, runId).mapErr(commandProblem) : okAsync(known)
}
