import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { err, ok, type ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { roleMay } from '../../api/auth.ts'
import { CreateRun } from '../../api/create-run.ts'
import { SendMessage } from '../../api/run-requests.ts'
import { Continuation, RecordedMessage } from '../../api/runs.ts'
import { present } from '../../domain/present.ts'
import type { RunState } from '../../domain/state.ts'
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
