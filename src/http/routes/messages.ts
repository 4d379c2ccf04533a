import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { err, errAsync, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { roleMay } from '../../api/auth.ts'
import { CreateRun } from '../../api/create-run.ts'
import { SendMessage } from '../../api/run-requests.ts'
import { Continuation, RecordedMessage } from '../../api/runs.ts'
import { present } from '../../domain/present.ts'
import { firstIssueOf } from '../../lib/message-of.ts'
import { load, readRecords } from '../../log/run-log.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { findOrigin, originGone, requestFrom } from '../origin.ts'
import { callerOf, forbidden } from '../plugins/security.ts'
import { Named, nameOf, readName } from '../plugins/validation.ts'
import type { Refusal } from '../problems/problem-of.ts'
import { command, findRun, standing } from './commands.ts'
import { type Answer, idOf, startOnce } from './create-run.ts'

const Sent = z.union([RecordedMessage, Continuation]).meta({ id: 'MessageAnswer' })
type Body = z.output<typeof SendMessage>
type Done = Pick<Answer, 'status'> & { readonly run: z.infer<typeof Sent> }

const DESCRIPTION =
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
    description: DESCRIPTION,
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

function send(request: FastifyRequest, body: Body, deps: AppDeps): ResultAsync<Done, Refusal> {
  const name = nameOf(request)
  const wanted = { type: 'send_message', ...body, ...present({ idempotency: name }) } as const
  return command(deps, request, wanted)
    .map(({ state }): Done => ({ status: 201, run: { ...standing(state), seq: state.seq } }))
    .orElse((error): ResultAsync<Done, Refusal> => {
      if (error.type !== 'run_ended' && error.type !== 'already_sent') return errAsync(error)
      return load(deps.store, request.runId).andThen(
        (run): ResultAsync<Done, Refusal> | Result<Done, Refusal> => {
          const before = run?.state.namedMessages.find(({ key }) => key === name?.key)
          if (run === null || before === undefined) return continueWith(request, body, deps)
          if (before.request_sha256 !== name?.request_sha256) return err({ type: 'key_reused' })
          return ok({ status: 200, run: { ...standing(run.state), seq: before.seq } })
        },
      )
    })
}

/** A message to a run that has ended starts a run that continues it. */
function continueWith(
  request: FastifyRequest,
  { text, seen }: Body,
  deps: AppDeps,
): ResultAsync<Done, Refusal> {
  const caller = callerOf(request)
  if (!roleMay(caller.role, 'runs:create')) return errAsync(forbidden(caller, 'runs:create'))
  const name = nameOf(request)
  const runId = name === undefined ? randomUUID() : idOf(name)
  const continues = { run_id: request.runId }
  return readRecords(deps.store, request.runId, seen?.seq ?? 0, 1)
    .andThen(([record]): Result<void, Refusal> => {
      if (seen === null || record?.meta.hash === seen.hash) return ok()
      return err({ type: 'seen_otherwise', seq: seen.seq })
    })
    .andThen(() => ResultAsync.fromSafePromise(findOrigin(request.runId, undefined, deps)))
    .andThen((from) => {
      const asked = from.isOk() ? requestFrom(from.value) : {}
      const body = CreateRun.safeParse({ ...asked, continues, instructions: text })
      if (body.success) return startOnce(request, { runId, name, body: body.data, from }, deps)
      return errAsync(originGone(`It is of an earlier version: ${firstIssueOf(body.error)}.`))
    })
    .andThen(({ status, run }) =>
      findRun(deps, runId).andThen((found): Result<Done, Refusal> => {
        const { origin } = found?.state ?? {}
        // The same words may have been sent to another run.
        if (origin?.run_id !== request.runId) return err({ type: 'key_reused' })
        const { kind: _, ...record } = origin
        return ok({ status, run: { ...run, continues: record } })
      }),
    )
}
