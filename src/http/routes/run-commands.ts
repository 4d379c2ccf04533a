import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { err, ok, type ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { roleMay } from '../../api/auth.ts'
import { CreateRun } from '../../api/create-run.ts'
import {
  AbortRun,
  AnswerApproval,
  ApprovalParams,
  ConfigureRun,
  ResumeRun,
  SendMessage,
} from '../../api/run-requests.ts'
import {
  AnsweredApproval,
  Continuation,
  RecordedMessage,
  ResumedRun,
  RunAndStatus,
  RunDetails,
} from '../../api/runs.ts'
import { present } from '../../domain/present.ts'
import type { RunState } from '../../domain/state.ts'
import { firstIssueOf } from '../../lib/message-of.ts'
import { type LoadedRun, load, readRecords } from '../../log/run-log.ts'
import { runDetails } from '../../queries/run-details.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { findOrigin, originGone, requestFrom } from '../origin.ts'
import { callerOf, forbidden } from '../plugins/security.ts'
import { Named, nameOf, readName } from '../plugins/validation.ts'
import { invalidFields, orProblem, type Refusal } from '../problems/problem-of.ts'
import { authorOf, command, findRun, standing } from './commands.ts'
import { type Answer, idOf, startOnce } from './create-run.ts'

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

const Sent = z.union([RecordedMessage, Continuation]).meta({ id: 'MessageAnswer' })
type Body = z.output<typeof SendMessage>
type Done = Pick<Answer, 'status'> & { readonly run: z.infer<typeof Sent> }

const MESSAGES =
  'The message is a record of the run, and the next request to the model holds it. It interrupts no call, and ' +
  'it does not answer a human check. If the run has ended, the message starts a run that continues it, and the answer ' +
  'is about that one: this also needs the permission `runs:create`. With an `Idempotency-Key` header, a client can ' +
  'safely send it again: a run remembers the keys of its last 64 messages.'

export function sendMessage(app: FastifyInstance, deps: AppDeps): void {
  operation(app, 'POST /api/runs/:run_id/messages', {
    needs: 'runs:message',
    id: 'sendMessage',
    tag: 'runs',
    summary: 'Say something to the agent of a run',
    description: MESSAGES,
    headers: Named,
    body: SendMessage,
    answers: {
      200: described('An earlier request with the same Idempotency-Key sent it', Sent),
      201: described('The message is in the log', Sent),
    },
    preValidation: readName,
    handle: (request, reply) =>
      send(request, request.body, deps).map(({ status, run }) => {
        reply.code(status)
        return run
      }),
  })
}

const send = (request: FastifyRequest, body: Body, deps: AppDeps): ResultAsync<Done, Refusal> =>
  safeTry(async function* () {
    const name = nameOf(request)
    const message = { type: 'send_message', ...body, ...present({ idempotency: name }) } as const
    const sent = await command(deps, request, message)
    if (sent.isOk()) return ok(recorded(201, sent.value.state, sent.value.state.seq))
    const { error } = sent
    if (error.type !== 'run_ended' && error.type !== 'already_sent') return err(error)
    const run = yield* load(deps.store, request.runId)
    const before = run?.state.namedMessages.find(({ key }) => key === name?.key)
    if (run === null || before === undefined) return continueWith(request, body, deps)
    if (before.request_sha256 !== name?.request_sha256) return err({ type: 'key_reused' } as const)
    return ok(recorded(200, run.state, before.seq))
  })

const recorded = (status: Done['status'], state: RunState, seq: number): Done => ({
  status,
  run: { ...standing(state), seq },
})

/** A message to a run that has ended starts a run that continues it. */
const continueWith = (
  request: FastifyRequest,
  { text, seen }: Body,
  deps: AppDeps,
): ResultAsync<Done, Refusal> =>
  safeTry(async function* () {
    const caller = callerOf(request)
    if (!roleMay(caller.role, 'runs:create')) return err(forbidden(caller, 'runs:create'))
    const name = nameOf(request)
    const runId = name === undefined ? randomUUID() : idOf(name)
    const continues = { run_id: request.runId }
    const [record] = yield* readRecords(deps.store, request.runId, seen?.seq ?? 0, 1)
    if (seen !== null && record?.meta.hash !== seen.hash) {
      return err({ type: 'seen_otherwise', seq: seen.seq } as const)
    }
    const from = await findOrigin(request.runId, undefined, deps)
    const asked = from.isOk() ? requestFrom(from.value) : {}
    const wanted = CreateRun.safeParse({ ...asked, continues, instructions: text })
    if (!wanted.success) {
      return err(originGone(`It is of an earlier version: ${firstIssueOf(wanted.error)}.`))
    }
    const start = { runId, name, body: wanted.data, from }
    const { status, run } = yield* startOnce(request, start, deps)
    const { origin } = (yield* findRun(deps, runId))?.state ?? {}
    // The same words may have been sent to another run.
    if (origin?.run_id !== request.runId) return err({ type: 'key_reused' } as const)
    const { kind: _, ...last } = origin
    return ok({ status, run: { ...run, continues: last } })
  })
