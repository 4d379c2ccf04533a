import type { FastifyRequest } from 'fastify'
import { RunParams } from '../../api/run-queries.ts'
import { SendMessage } from '../../api/run-requests.ts'
import { RecordedMessage } from '../../api/runs.ts'
import { present } from '../../domain/present.ts'
import type { Idempotency } from '../../domain/records.ts'
import { type RunState, statusOf } from '../../domain/state.ts'
import { load } from '../../log/run-log.ts'
import type { AppDeps, ZodApp } from '../deps.ts'
import {
  COMMAND_PROBLEMS,
  described,
  problems,
  sendProblem,
  sendResult,
} from '../problems/problem.ts'
import { commandProblem, invalidField } from '../problems/problem-of.ts'
import { IDEMPOTENCY_KEY, idempotencyOf } from './idempotency.ts'
import { command } from './run-commands.ts'

/** POST /api/runs/{run_id}/messages */
export function sendMessage(app: ZodApp, deps: AppDeps): void {
  const named = new WeakMap<FastifyRequest, Idempotency>()
  app.route({
    method: 'POST',
    url: '/api/runs/:run_id/messages',
    config: { needs: 'runs:message' },
    schema: {
      operationId: 'sendMessage',
      tags: ['runs'],
      summary: 'Say something to the agent of a run',
      description:
        'The message is a record of the run, and the next request to the model holds it. It interrupts no call, and ' +
        'it does not answer a human check. With an `Idempotency-Key` header, a client can safely send it again: a run ' +
        'remembers the keys of its last 64 messages.',
      params: RunParams,
      body: SendMessage,
      response: {
        200: described('An earlier request with the same Idempotency-Key sent it', RecordedMessage),
        201: described('The message is in the log', RecordedMessage),
        ...problems(
          'invalid_request',
          'run_not_found',
          'run_ended',
          'seen_otherwise',
          'key_reused',
          ...COMMAND_PROBLEMS,
        ),
      },
    },
    // Before defaults are filled in, so that the key belongs to what the client sent.
    preValidation: async (request, reply) => {
      const idempotency = idempotencyOf(request.headers[IDEMPOTENCY_KEY], request.body)
      if (idempotency.isErr()) {
        return sendProblem(request, reply, invalidField(IDEMPOTENCY_KEY, idempotency.error))
      }
      if (idempotency.value !== null) named.set(request, idempotency.value)
    },
    handler: async (request, reply) => {
      const { runId, body } = request
      const idempotency = named.get(request)
      const sent = await command(deps, request, runId, {
        type: 'send_message',
        ...body,
        ...present({ idempotency }),
      })
      if (sent.isErr() && sent.error.code === 'already_sent') {
        const before = load(deps.store, runId)
          .mapErr(commandProblem)
          .map((run) => answer(run?.state, twinOf(run?.state, idempotency)))
        return sendResult(request, reply, before)
      }
      if (sent.isErr()) return sendProblem(request, reply, sent.error)
      const { state } = sent.value
      return reply.code(201).send(answer(state, state.seq))
    },
  })
}

const twinOf = (state: RunState | undefined, idempotency: Idempotency | undefined): number =>
  state?.namedMessages.find(({ key }) => key === idempotency?.key)?.seq ?? 0

function answer(state: RunState | undefined, seq: number): RecordedMessage {
  if (state === undefined) throw new Error('a message was sent to a run that does not exist')
  return { run_id: state.runId, status: statusOf(state), seq }
}
