import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { okAsync, type ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { existing } from '../../domain/decide.ts'
import { RUN_STATUSES, statusOf } from '../../domain/state.ts'
import { type LoadedRun, load } from '../../log/run-log.ts'
import { command } from '../commands.ts'
import type { AppDeps } from '../deps.ts'
import { IDEMPOTENCY_KEY, type NamedRequest, namedRequest } from '../idempotency.ts'
import { commandProblem } from '../problems/command-problem.ts'
import {
  COMMAND_PROBLEMS,
  type Problem,
  problems,
  sendInvalid,
  sendProblem,
} from '../problems/problem.ts'
import { planRequest, runRequestSchema } from '../run-request.ts'
import type { ZodApp } from '../zod-app.ts'

const RunStarted = z
  .object({ run_id: z.uuid(), status: z.literal('running') })
  .describe('The run is in the log, and is taken up at once')
  .meta({ examples: [{ run_id: '550e8400-e29b-41d4-a716-446655440000', status: 'running' }] })

const RunKnown = z
  .object({ run_id: z.uuid(), status: z.enum(RUN_STATUSES) })
  .describe('The same request, by its Idempotency-Key, has created this run before')
  .meta({ examples: [{ run_id: '550e8400-e29b-41d4-a716-446655440000', status: 'achieved' }] })

/** POST /api/runs */
export function createRun(app: ZodApp, deps: AppDeps): void {
  const named = new WeakMap<FastifyRequest, NamedRequest>()
  app.route({
    method: 'POST',
    url: '/api/runs',
    config: { needs: 'runs:create' },
    schema: {
      operationId: 'createRun',
      tags: ['runs'],
      summary: 'Start a run',
      description:
        'Unknown fields are refused, and every problem of a request is named at once. ' +
        'The Location header of the answer is the address of the run. ' +
        'With an `Idempotency-Key` header, a request can safely be sent again: the same key and ' +
        'body give the same run, and the same key with another body is refused.',
      body: runRequestSchema(deps.defaults),
      response: {
        200: RunKnown,
        201: RunStarted,
        ...problems('invalid_request', 'key_reused', ...COMMAND_PROBLEMS),
      },
    },
    // Before defaults are filled in, so that a key stands for what the client has sent.
    preValidation: async (request, reply) => {
      const asked = namedRequest(request.headers[IDEMPOTENCY_KEY], request.body)
      if (asked.isErr()) {
        return sendInvalid(request, reply, [{ field: IDEMPOTENCY_KEY, message: asked.error }])
      }
      if (asked.value === null) return
      const before = await findRun(deps, asked.value.runId)
      if (before.isErr()) return sendProblem(request, reply, before.error)
      if (before.value !== null) return repeat(request, reply, before.value, asked.value)
      named.set(request, asked.value)
    },
    // A body that does not fit is judged further, so that the answer names every problem.
    attachValidation: true,
    handler: async (request, reply) => {
      const planned = await planRequest(request.body, request.validationError, deps)
      if (planned.isErr()) return sendInvalid(request, reply, planned.error)
      const twin = named.get(request)
      const runId = twin?.runId ?? randomUUID()
      const created = await command(deps, request, runId, {
        type: 'create',
        runId,
        ...planned.value,
        reason: request.body.reason,
        ...(twin === undefined ? {} : { idempotency: twin.idempotency }),
      })
      if (created.isErr()) {
        if (created.error.code !== 'already_created' || twin === undefined) {
          return sendProblem(request, reply, created.error)
        }
        // The same request came twice at once, and the other one was faster.
        const faster = await findRun(deps, runId)
        if (faster.isErr()) return sendProblem(request, reply, faster.error)
        if (faster.value !== null) return repeat(request, reply, faster.value, twin)
      }
      reply.code(201).header('location', `/api/runs/${runId}`)
      return { run_id: runId, status: 'running' } as const
    },
  })
}

/** The run as the log has it now: what came from another server may not be projected here yet. */
function findRun(
  { store, readModel }: AppDeps,
  runId: string,
): ResultAsync<LoadedRun | null, Problem> {
  const known = readModel.get(runId)
  return known === null ? load(store, runId).mapErr(commandProblem) : okAsync(known)
}

function repeat(
  request: FastifyRequest,
  reply: FastifyReply,
  { state }: LoadedRun,
  { runId, idempotency }: NamedRequest,
) {
  const { type } = existing(state, idempotency)
  if (type !== 'already_created') return sendProblem(request, reply, { code: 'key_reused' })
  return reply
    .code(200)
    .header('location', `/api/runs/${runId}`)
    .send({ run_id: runId, status: statusOf(state) })
}
