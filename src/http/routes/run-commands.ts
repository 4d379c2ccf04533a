import type { FastifyInstance, FastifyRequest } from 'fastify'
import { err, ok, type ResultAsync, safeTry } from 'neverthrow'
import type * as z from 'zod'
import {
  AbortRun,
  AnswerApproval,
  ApprovalParams,
  ConfigureRun,
  ResumeRun,
} from '../../api/run-requests.ts'
import { AnsweredApproval, ResumedRun, RunAndStatus, RunDetails } from '../../api/runs.ts'
import { present } from '../../domain/present.ts'
import type { LoadedRun } from '../../log/run-log.ts'
import { runDetails } from '../../queries/run-details.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { invalidFields, orProblem, type Refusal } from '../problems/problem-of.ts'
import { authorOf, command, findRun, standing } from './commands.ts'

/** What people decide about a run. */
export function runCommands(app: FastifyInstance, deps: AppDeps): void {
  answers(app, deps)
  operation(app, 'POST /api/runs/:run_id/abort', {
    needs: 'runs:abort',
    id: 'abortRun',
    tag: 'runs',
    summary: 'Abort a run',
    body: AbortRun,
    answers: {
      200: described('The run has ended. Its agent stops what it is doing', RunAndStatus),
    },
    handle: (request) =>
      command(deps, request, { type: 'abort', ...request.body }).map(({ state }) =>
        standing(state),
      ),
  })
  operation(app, 'PATCH /api/runs/:run_id/config', {
    needs: 'runs:configure',
    id: 'configureRun',
    tag: 'runs',
    summary: 'Change the configuration of a run while it works',
    description:
      'A change takes effect at the next step of the run. If a limit has paused the run, and no limit is reached any more, ' +
      'the run continues. A limit must be more than what the run has used; null is no limit.',
    body: ConfigureRun,
    answers: { 200: described('The run with its new configuration', RunDetails) },
    handle: (request) =>
      configure(request, request.body, deps).map(({ state }) => {
        const later = deps.readModel.laterTags(state.runId)
        return { ...runDetails(state), ...present({ tags: later?.tags }) }
      }),
  })
}

function answers(app: FastifyInstance, deps: AppDeps): void {
  operation(app, 'POST /api/runs/:run_id/resume', {
    needs: 'runs:decide',
    id: 'resumeRun',
    tag: 'runs',
    summary: 'Decide for a run that waits for a person',
    description:
      'The log keeps who decided, the reason, the `seq` of the human check, and its hash as ' +
      '`shown_sha256`. That hash covers the whole history that led to the question. If the run waits for the approval ' +
      'of a call, `approve` allows that call, and `abort` ends the run. If it is paused, `approve` lets it continue, unless it ' +
      'has reached a limit: then raise that with PATCH /api/runs/{run_id}/config.',
    body: ResumeRun,
    answers: { 200: described('The decision is in the log', ResumedRun) },
    handle: (request) => {
      const { decision, reason, seq: answers, seen } = request.body
      const answer = { type: 'respond', decision, reason, answers, seen } as const
      return command(deps, request, answer).map(({ state }) => {
        return { ...standing(state), resumed_with: decision }
      })
    },
  })
  operation(app, 'POST /api/runs/:run_id/approvals/:seq', {
    needs: 'runs:decide',
    id: 'answerApproval',
    tag: 'runs',
    summary: 'Allow or deny a call that waits for a person',
    description:
      'The `seq` is that of the `approval_required`, and `call_sha256` is the hash of the call that the person was ' +
      'shown: GET /api/runs/{run_id} has both in `progress.waiting_for`. If several people answer, the log has the ' +
      'first answer, and the others get 409. The call begins after the answer is in the log.',
    params: ApprovalParams,
    body: AnswerApproval,
    answers: { 200: described('The answer is in the log', AnsweredApproval) },
    handle: (request) => {
      const { call_sha256: callSha256, lifts_rule: liftsRule, ...answer } = request.body
      const wanted = { type: 'answer_approval', ...answer, callSha256, liftsRule } as const
      const answered = command(deps, request, { ...wanted, answers: request.params.seq })
      return answered.map(({ state }) => ({ ...standing(state), decision: answer.decision }))
    },
  })
}

/** Changes what is named: first the configuration, then the tags, which a run may get at any time and are not records of it. */
const configure = (
  request: FastifyRequest,
  { tags, reason, seen, ...changes }: z.output<typeof ConfigureRun>,
  deps: AppDeps,
): ResultAsync<LoadedRun, Refusal> =>
  safeTry(async function* () {
    const found = yield* findRun(deps, request.runId)
    let run = yield* orProblem({ code: 'run_not_found' })(found)
    if (Object.keys(changes).length > 0) {
      const wrong = await deps.changeProblems(changes, run.state.config)
      if (wrong.length > 0) return err(invalidFields(wrong))
      run = yield* command(deps, request, { type: 'configure', changes, reason, seen })
    }
    if (tags !== undefined) {
      yield* deps.putTags(request.runId, { tags, reason }, authorOf(request).principal)
    }
    return ok(run)
  })
