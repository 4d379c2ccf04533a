import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { okAsync, ResultAsync } from 'neverthrow'
import type { CommandOnRun } from '../../domain/commands.ts'
import { type RunState, statusOf } from '../../domain/state.ts'
import { type CommandError, handleCommand } from '../../log/handle-command.ts'
import { type LoadError, type LoadedRun, load } from '../../log/run-log.ts'
import { type AppDeps, PROJECTION_WAIT_MS } from '../deps.ts'
import { callerOf } from '../plugins/security.ts'

type Deps = Pick<AppDeps, 'store' | 'readModel' | 'clock'>

/** Carries out a person's command on a run. The result comes after the read model shows it. */
export function command(
  deps: Deps,
  request: FastifyRequest,
  wanted: CommandOnRun,
): ResultAsync<LoadedRun, CommandError> {
  const { runId } = request
  const snapshot = deps.readModel.get(runId)
  const options = { author: authorOf(request), now: deps.clock, snapshot }
  return shown(deps, handleCommand(deps.store, runId, wanted, options))
}

/** Who causes the records of a request. */
export const authorOf = (request: FastifyRequest) => ({
  commandId: randomUUID(),
  principal: callerOf(request).principal,
})

/** Waits until the read model shows a run as it is after a command, so that the client finds it there; for a bounded time. */
export const shown = <E>(
  { readModel }: Pick<Deps, 'readModel'>,
  done: ResultAsync<LoadedRun, E>,
): ResultAsync<LoadedRun, E> =>
  done.andThrough(({ state: { runId, seq } }) =>
    ResultAsync.fromSafePromise(readModel.waitFor(runId, seq, PROJECTION_WAIT_MS)),
  )

/** From the log if the read model does not have it: another server may have created it. */
export function findRun(
  { store, readModel }: Pick<AppDeps, 'store' | 'readModel'>,
  runId: string,
): ResultAsync<LoadedRun | null, LoadError> {
  const known = readModel.get(runId)
  return known === null ? load(store, runId) : okAsync(known)
}

/** A run as the answers to commands show it. */
export const standing = (state: RunState) => ({ run_id: state.runId, status: statusOf(state) })
