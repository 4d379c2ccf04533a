import type { FastifyRequest } from 'fastify'
import { err, ok, okAsync, ResultAsync } from 'neverthrow'
import type { Problem } from '../../api/problems.ts'
import {
  AbortRun,
  AnswerApproval,
  ApprovalParams,
  ConfigureRun,
  ResumeRun,
  RunParams,
} from '../../api/run-requests.ts'
import { AnsweredApproval, ResumedRun, RunAndStatus, RunDetails } from '../../api/runs.ts'
import { present } from '../../domain/present.ts'
import type { ConfigChanges } from '../../domain/run-config.ts'
import { type RunState, statusOf } from '../../domain/state.ts'
import type { LoadedRun } from '../../log/run-log.ts'
import { runDetails } from '../../queries/run-details.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import { COMMAND_PROBLEMS, described, problems, sendResult } from '../problems/problem.ts'
import { commandProblem, invalidFields } from '../problems/problem-of.ts'
import { entityTag } from '../replies/conditional.ts'
import { authorOf, command, findRun } from './commands.ts'
import { revisionOf } from './runs.ts'

export const runCommands = [resumeRun, answerApproval, abortRun, configureRun]

export const CHANGE_PROBLEMS = [
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
function resumeRun(app: ZodApp, deps: AppDeps): void {
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
        'of a call, `approve` allows that call, and `abort` ends the run. If it is paused, `approve` lets it continue, unless it ' +
        'has reached a limit: then raise that with PATCH /api/runs/{run_id}/config.',
      params: RunParams,
      body: ResumeRun,
      response: {
        200: described('The decision is in the log', ResumedRun),
        ...problems('limit_reached', ...ANSWER_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { decision, reason, seq: answers, seen } = request.body
      const answer = { type: 'respond', decision, reason, answers, seen } as const
      const resumed = command(deps, request, answer).map(({ state }) => {
        return { ...standing(state), resumed_with: decision }
      })
      return sendResult(request, reply, resumed)
    },
  })
}

/** POST /api/runs/{run_id}/approvals/{seq} */
function answerApproval(app: ZodApp, deps: AppDeps): void {
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
      const { call_sha256: callSha256, lifts_rule: liftsRule, ...answer } = request.body
      const wanted = { type: 'answer_approval', ...answer, callSha256, liftsRule } as const
      const answered = command(deps, request, { ...wanted, answers: request.params.seq })
      const shown = answered.map(({ state }) => ({ ...standing(state), decision: answer.decision }))
      return sendResult(request, reply, shown)
    },
  })
}

/** POST /api/runs/{run_id}/abort */
function abortRun(app: ZodApp, deps: AppDeps): void {
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
      const aborted = command(deps, request, { type: 'abort', ...request.body })
      return sendResult(
        request,
        reply,
        aborted.map(({ state }) => standing(state)),
      )
    },
  })
}

/** PATCH /api/runs/{run_id}/config */
function configureRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'PATCH',
    url: '/api/runs/:run_id/config',
    config: { needs: 'runs:configure' },
    schema: {
      operationId: 'configureRun',
      tags: ['runs'],
      summary: 'Change the configuration of a run while it works',
      description:
        'A change takes effect at the next step of the run. If a limit has paused the run, and no limit is reached any more, ' +
        'the run continues. A limit must be more than what the run has used; null is no limit.',
      params: RunParams,
      body: ConfigureRun,
      response: {
        200: described('The run with its new configuration', RunDetails),
        ...problems(...CHANGE_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const { runId } = request
      const { tags, reason, ...configured } = request.body
      const { seen, ...changes } = configured
      const wanted = { type: 'configure', changes, reason, seen } as const
      const hasChanges = Object.keys(changes).length > 0
      const changed = findRun(deps, runId)
        .andThen((run) => (run === null ? err<never, Problem>({ code: 'run_not_found' }) : ok(run)))
        .andThen((run) => {
          if (!hasChanges) return ok(run)
          return problemsOf(changes, run, deps).andThen(() => command(deps, request, wanted))
        })
        .andThen((run) => putTags(deps, request, { tags, reason }).map(() => run))
        .map(({ state }) => {
          const later = deps.readModel.laterTags(runId)
          reply.header('etag', entityTag(revisionOf([state], later), [runId], deps.redactions))
          return { ...runDetails(state), ...present({ tags: later?.tags }) }
        })
      return sendResult(request, reply, changed)
    },
  })
}

const problemsOf = (changes: ConfigChanges, { state }: LoadedRun, deps: AppDeps) =>
  ResultAsync.fromSafePromise(deps.changeProblems(changes, state.config)).andThen((wrong) =>
    wrong.length > 0 ? err(invalidFields(wrong)) : ok(),
  )

type NewTags = { readonly tags: readonly string[] | undefined; readonly reason: string | null }

/** A run may get other tags at any time, so they are not records of it. */
function putTags(
  deps: AppDeps,
  request: FastifyRequest,
  { tags, reason }: NewTags,
): ResultAsync<void, Problem> {
  if (tags === undefined) return okAsync(undefined)
  const { principal } = authorOf(request)
  return deps.putTags(request.runId, { tags, reason }, principal).mapErr(commandProblem)
}

export const standing = (state: RunState) => ({ run_id: state.runId, status: statusOf(state) })
