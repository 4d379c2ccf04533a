import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { okAsync, ResultAsync } from 'neverthrow'
import type { Problem } from '../../api/problems.ts'
import { ApprovalParams, RunParams } from '../../api/run-queries.ts'
import { AbortRun, AnswerApproval, ConfigureRun, ResumeRun } from '../../api/run-requests.ts'
import { AnsweredApproval, ResumedRun, RunAndStatus, RunDetails } from '../../api/runs.ts'
import type { PersonCommand } from '../../domain/commands.ts'
import { statusOf } from '../../domain/state.ts'
import { handleCommand } from '../../log/handle-command.ts'
import { type LoadedRun, load } from '../../log/run-log.ts'
import { runDetails } from '../../queries/run-details.ts'
import { type AppDeps, PROJECTION_WAIT_MS, type ZodApp } from '../deps.ts'
import {
  COMMAND_PROBLEMS,
  described,
  problems,
  sendInvalid,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { commandProblem } from '../problems/problem-of.ts'
import { entityTag } from '../replies/conditional.ts'

/**
 * Carries out a person's command on a run. The result comes after the read model shows it, so that the client finds
 * it there; the wait is bounded.
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

/** From the log if the read model does not have it: another server may have created it. */
export function findRun(
  { store, readModel }: Pick<AppDeps, 'store' | 'readModel'>,
  runId: string,
): ResultAsync<LoadedRun | null, Problem> {
  const known = readModel.get(runId)
  return known === null ? load(store, runId).mapErr(commandProblem) : okAsync(known)
}

const CHANGE_PROBLEMS = [
  'invalid_request',
  'run_not_found',
  'run_ended',
  'seen_otherwise',
  ...COMMAND_PROBLEMS,
] as const

const ANSWER_PROBLEMS = [
  ...(['forbidden', 'starter_may_not_answer', 'not_awaiting_human', 'stale_decision'] as const),
  ...CHANGE_PROBLEMS,
] as const

/** POST /api/runs/{run_id}/resume */
export function resumeRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/resume',
    config: { needs: 'runs:decide' },
    schema: {
      operationId: 'resumeRun',
      tags: ['runs'],
      summary: 'Decide for a run that waits for a person',
      description:
        'The log keeps who decided, the reason, the `seq` of the human check, and its hash as ' +
        '`shown_sha256`. That hash covers the whole history that led to the question. If the run waits for the approval ' +
        'of a call, `approve` allows that call, and `abort` ends the run.',
      params: RunParams,
      body: ResumeRun,
      response: {
        200: described('The decision is in the log', ResumedRun),
        ...problems(...ANSWER_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { decision, reason, seq: answers, seen } = request.body
      const answer = { type: 'respond', decision, reason, answers, seen } as const
      const resumed = command(deps, request, request.runId, answer).map(({ state }) => {
        return { run_id: state.runId, status: statusOf(state), resumed_with: decision }
      })
      return sendResult(request, reply, resumed)
    },
  })
}

/** POST /api/runs/{run_id}/approvals/{seq} */
export function answerApproval(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/approvals/:seq',
    config: { needs: 'runs:decide' },
    schema: {
      operationId: 'answerApproval',
      tags: ['runs'],
      summary: 'Allow or deny a call that waits for a person',
      description:
        'The `seq` is that of the `approval_required`, and `call_sha256` is the hash of the call that the person was ' +
        'shown: GET /api/runs/{run_id} has both in `progress.waiting_for`. If several people answer, the log has the ' +
        'first answer, and the others get 409. The call begins after the answer is in the log.',
      params: ApprovalParams,
      body: AnswerApproval,
      response: {
        200: described('The answer is in the log', AnsweredApproval),
        ...problems('other_call', 'rule_stays', ...ANSWER_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const {
        decision,
        reason,
        call_sha256: callSha256,
        lifts_rule: liftsRule,
        seen,
      } = request.body
      const answers = request.params.seq
      const answer = { decision, reason, answers, callSha256, liftsRule, seen } as const
      const wanted = { type: 'answer_approval', ...answer } as const
      const answered = command(deps, request, request.runId, wanted).map(({ state }) => {
        return { run_id: state.runId, status: statusOf(state), decision }
      })
      return sendResult(request, reply, answered)
    },
  })
}

/** POST /api/runs/{run_id}/abort */
export function abortRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/abort',
    config: { needs: 'runs:abort' },
    schema: {
      operationId: 'abortRun',
      tags: ['runs'],
      summary: 'Abort a run',
      params: RunParams,
      body: AbortRun,
      response: {
        200: described('The run has ended. Its agent stops what it is doing', RunAndStatus),
        ...problems(...CHANGE_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { reason, seen } = request.body
      const wanted = { type: 'abort', reason, seen } as const
      const aborted = command(deps, request, request.runId, wanted).map(({ state }) => {
        return { run_id: state.runId, status: statusOf(state) }
      })
      return sendResult(request, reply, aborted)
    },
  })
}

/** PATCH /api/runs/{run_id}/config */
export function configureRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'PATCH',
    url: '/api/runs/:run_id/config',
    config: { needs: 'runs:configure' },
    schema: {
      operationId: 'configureRun',
      tags: ['runs'],
      summary: 'Change the configuration of a run while it works',
      description: 'A change takes effect at the next step of the run.',
      params: RunParams,
      body: ConfigureRun,
      response: {
        200: described('The run with its new configuration', RunDetails),
        ...problems(...CHANGE_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { reason, seen, ...changes } = request.body
      const found = await findRun(deps, request.runId)
      if (found.isErr()) return sendProblem(request, reply, found.error)
      const config = found.value?.state.config
      const wrong = config === undefined ? [] : await deps.changeProblems(changes, config)
      if (wrong.length > 0) return sendInvalid(request, reply, wrong)
      const wanted = { type: 'configure', changes, reason, seen } as const
      const changed = command(deps, request, request.runId, wanted).map(({ state }) => {
        reply.header('etag', entityTag(state.seq, state.runId, deps.redactions))
        return runDetails(state)
      })
      return sendResult(request, reply, changed)
    },
  })
}
