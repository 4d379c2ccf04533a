import * as z from 'zod'
import { HeldRun, HoldRun, RetainedRun, RetainRuns, RunHold } from '../../api/retention.ts'
import { RunParams } from '../../api/run-requests.ts'
import type { AppDeps, RetentionOfRuns, ZodApp } from '../deps.ts'
import {
  COMMAND_PROBLEMS,
  described,
  problems,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { retentionProblem } from '../problems/problem-of.ts'
import { authorOf } from './commands.ts'

type Deps = Pick<AppDeps, 'readModel'> & { readonly retention: RetentionOfRuns }

const HOLD = {
  url: '/api/runs/:run_id/hold',
  config: { needs: 'runs:retain' },
} as const
const HELD = {
  200: described('The run, and the hold on it', HeldRun),
  ...problems('run_not_found', 'run_removed', ...COMMAND_PROBLEMS),
}

/** A hold as the API shows it. */
const holdView = (hold: RunHold | undefined): RunHold | null =>
  hold === undefined ? null : RunHold.parse(hold)

export function retention(app: ZodApp, deps: Deps): void {
  hold(app, deps)
  release(app, deps)
  retain(app, deps)
}

function hold(app: ZodApp, { retention, readModel }: Deps): void {
  app.route({
    ...HOLD,
    method: 'PUT',
    schema: {
      operationId: 'holdRun',
      tags: ['runs'],
      summary: 'Put a run on hold: no rule removes it',
      description:
        'It covers its sub-agents, and the run whose agent has started it, because they go or stay together. The hold ' +
        'is an entry of the ledger `retention`. Sent again, it changes nothing.',
      params: RunParams,
      body: HoldRun,
      response: HELD,
    },
    handler: async (request, reply) => {
      const { runId: run_id, body } = request
      if (readModel.get(run_id) === null) {
        return sendProblem(request, reply, { code: 'run_not_found' })
      }
      const held = retention
        .hold(run_id, body.reason, authorOf(request))
        .map(() => ({ run_id, hold: holdView(retention.holdOf(run_id)) }))
      return sendResult(request, reply, held.mapErr(retentionProblem))
    },
  })
}

function release(app: ZodApp, { retention }: Deps): void {
  app.route({
    ...HOLD,
    method: 'DELETE',
    schema: {
      operationId: 'releaseRun',
      tags: ['runs'],
      summary: 'End the hold on a run',
      params: RunParams,
      body: HoldRun.partial().nullish(),
      response: HELD,
    },
    handler: async (request, reply) => {
      const { runId: run_id, body } = request
      const released = retention
        .release(run_id, body?.reason ?? null, authorOf(request))
        .map(() => ({ run_id, hold: holdView(retention.holdOf(run_id)) }))
      return sendResult(request, reply, released.mapErr(retentionProblem))
    },
  })
}

function retain(app: ZodApp, { retention }: Deps): void {
  app.route({
    method: 'POST',
    url: '/api/retention',
    config: { needs: 'runs:retain' },
    schema: {
      operationId: 'retainRuns',
      tags: ['runs'],
      summary: 'Remove the runs that rules do not keep, or list them',
      description:
        'Only runs that have ended match, and none with a copy that is not applied. A run goes or stays with its ' +
        'sub-agents. Each removed run is an entry of the ledger `retention`, which is made before the run disappears. ' +
        'It can be sent again after an interruption.',
      body: RetainRuns,
      response: {
        200: described('The runs that the rules do not keep, newest first', z.array(RetainedRun)),
        ...problems(...COMMAND_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const runs = retention.retain(request.body, authorOf(request)).map((all) => [...all])
      return sendResult(request, reply, runs.mapErr(retentionProblem))
    },
  })
}
