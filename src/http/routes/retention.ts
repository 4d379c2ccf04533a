import type { FastifyInstance } from 'fastify'
import { err } from 'neverthrow'
import * as z from 'zod'
import {
  HeldRun,
  HoldRun,
  ReleaseRun,
  RetainedRun,
  RetainRuns,
  RunHold,
} from '../../api/retention.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { authorOf } from './commands.ts'

/** Runs are held and released, and removed by rules. */
export function retention(app: FastifyInstance, { retention, readModel }: AppDeps): void {
  const held = (run_id: string) => {
    const hold = retention.holdOf(run_id)
    return { run_id, hold: hold === undefined ? null : RunHold.parse(hold) }
  }
  const onHold = {
    needs: 'runs:retain',
    tag: 'runs',
    answers: { 200: described('The run, and the hold on it', HeldRun) },
  } as const
  operation(app, 'PUT /api/runs/:run_id/hold', {
    ...onHold,
    id: 'holdRun',
    summary: 'Put a run on hold: no rule removes it',
    description:
      'It covers its sub-agents, and the run whose agent has started it, because they go or stay together. The hold ' +
      'is an entry of the ledger `retention`. Sent again, it changes nothing.',
    body: HoldRun,
    handle: (request) => {
      const { runId, body } = request
      if (readModel.get(runId) === null) return err({ code: 'run_not_found' })
      return retention.hold(runId, body.reason, authorOf(request)).map(() => held(runId))
    },
  })
  operation(app, 'DELETE /api/runs/:run_id/hold', {
    ...onHold,
    id: 'releaseRun',
    summary: 'End the hold on a run',
    body: ReleaseRun,
    handle: (request) => {
      const { runId, body } = request
      if (readModel.get(runId) === null) return err({ code: 'run_not_found' })
      const released = retention.release(runId, body.reason ?? null, authorOf(request))
      return released.map(() => held(runId))
    },
  })
  operation(app, 'POST /api/retention', {
    needs: 'runs:retain',
    id: 'retainRuns',
    tag: 'runs',
    summary: 'Remove the runs that rules do not keep, or list them',
    description:
      'Only runs that have ended match, and none with a copy that is not applied. A run goes or stays with its ' +
      'sub-agents. Each removed run is an entry of the ledger `retention`, which is made before the run disappears. ' +
      'It can be sent again after an interruption.',
    body: RetainRuns,
    answers: {
      200: described('The runs that the rules do not keep, newest first', z.array(RetainedRun)),
    },
    handle: (request) => retention.retain(request.body, authorOf(request)),
  })
}
