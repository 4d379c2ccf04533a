import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { CreateRun, REQUESTED_CONFIG as FIELDS, McpServers } from '../../api/create-run.ts'
import type { FieldProblem } from '../../api/problems.ts'
import { RunAndStatus, StartedRun } from '../../api/runs.ts'
import { existing } from '../../domain/decide.ts'
import { Level, LowerLimits } from '../../domain/isolation.ts'
import { present } from '../../domain/present.ts'
import type { Idempotency } from '../../domain/records.ts'
import { allOf, goalFields, type RunRequest } from '../../domain/requested-goal.ts'
import { statusOf } from '../../domain/state.ts'
import { INSTRUCTIONS_GOAL } from '../../domain/subagents.ts'
import { sha256 } from '../../lib/sha256.ts'
import { uuidOfHash } from '../../log/chain.ts'
import type { AppDeps, PlannedRun, ZodApp } from '../deps.ts'
import { InvalidInput } from '../plugins/validation.ts'
import {
  COMMAND_PROBLEMS,
  described,
  problems,
  sendInvalid,
  sendProblem,
} from '../problems/problem.ts'
import { invalidField } from '../problems/problem-of.ts'
import { IDEMPOTENCY_KEY, idempotencyOf } from './idempotency.ts'
import { command, findRun } from './run-commands.ts'

const DESCRIPTION =
  'Unknown fields are refused, and the answer names every problem of the request at once. ' +
  'The Location header of the answer is the address of the run. ' +
  'With an `Idempotency-Key` header, a client can safely send the request again: the same key and ' +
  'body give the same run, and the same key with another body is refused.'

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
      description: DESCRIPTION,
      body: CreateRun,
      response: {
        200: described(
          'An earlier request with the same Idempotency-Key created this run',
          RunAndStatus,
        ),
        201: described('The run is in the log, and its agent starts at once', StartedRun),
        ...problems('invalid_request', 'key_reused', ...COMMAND_PROBLEMS),
      },
    },
    // Before defaults are filled in, so that the key belongs to what the client sent.
    preValidation: async (request, reply) => {
      const asked = namedRequest(request.headers[IDEMPOTENCY_KEY], request.body)
      if (asked.isErr()) {
        return sendProblem(request, reply, invalidField(IDEMPOTENCY_KEY, asked.error))
      }
      if (asked.value === null) return
      named.set(request, asked.value)
      return (await repeated(request, reply, asked.value, deps)) ?? undefined
    },
    // The handler checks the rest of an invalid body too, so that the answer names every problem.
    attachValidation: true,
    handler: async (request, reply) => {
      const { body, validationError } = request
      const planned = (await planRequest(body, validationError, deps)).andThen((plan) => {
        const lacking = nobodyElse(plan, deps) ?? nothingToDo(plan, body)
        return lacking === null ? ok(plan) : err([lacking])
      })
      if (planned.isErr()) return sendInvalid(request, reply, planned.error)
      const { warnings = [], ...plan } = planned.value
      const twin = named.get(request)
      const runId = twin?.runId ?? randomUUID()
      const created = await command(deps, request, runId, {
        ...{ type: 'create', runId, ...plan },
        ...{ reason: body.reason, pool: deps.pool ?? null, instructions: body.instructions },
        ...present({ idempotency: twin?.idempotency }),
      })
      if (created.isErr()) {
        // The client may have sent the request twice at the same time, and the other one was faster.
        const isTwin = created.error.code === 'already_created' && twin !== undefined
        const answered = isTwin ? await repeated(request, reply, twin, deps) : null
        return answered ?? sendProblem(request, reply, created.error)
      }
      reply.code(201).header('location', `/api/runs/${runId}`)
      const answer = { run_id: runId, status: 'running' } as const
      return warnings.length === 0 ? answer : { ...answer, warnings: [...warnings] }
    },
  })
}

/** Why nobody could answer for a rule that demands another person; null if somebody could. */
function nobodyElse(
  { config, serverApprovals = [] }: PlannedRun,
  { auth }: Pick<AppDeps, 'auth'>,
): FieldProblem | null {
  const rules = [...serverApprovals, ...(config.approvals ?? [])]
  if (auth.guarded || !rules.some(({ by }) => by === 'other_than_starter')) return null
  const message =
    'A rule has "by": "other_than_starter", but this server has no tokens, so it cannot tell people apart and nobody could answer. Create tokens with "retrai token create", or leave "by" out.'
  return { field: 'approvals', message }
}

/** Why an agent would have nothing to do; null if it has. */
function nothingToDo(
  { config }: PlannedRun,
  { instructions }: z.output<typeof CreateRun>,
): FieldProblem | null {
  if (config.goal !== INSTRUCTIONS_GOAL || instructions !== null) return null
  const message = `The goal ${INSTRUCTIONS_GOAL} needs instructions: what the agent shall do (in the CLI -m TEXT or -f FILE).`
  return { field: 'instructions', message }
}

/** Answers a request whose run exists already; null if it does not. */
async function repeated(
  request: FastifyRequest,
  reply: FastifyReply,
  { runId, idempotency }: NamedRequest,
  deps: AppDeps,
): Promise<FastifyReply | null> {
  const found = await findRun(deps, runId)
  if (found.isErr()) return sendProblem(request, reply, found.error)
  if (found.value === null) return null
  const { state } = found.value
  const { type } = existing(state, idempotency)
  if (type !== 'already_created') return sendProblem(request, reply, { code: 'key_reused' })
  return reply
    .code(200)
    .header('location', `/api/runs/${runId}`)
    .send({ run_id: runId, status: statusOf(state) })
}

/** A run that can be created only once: its id is made from the key, so its stream is the lock. */
type NamedRequest = { readonly runId: string; readonly idempotency: Idempotency }

/**
 * The run that a request with an idempotency key creates; null without a key. Only the log remembers keys, so they
 * hold across restarts and for all servers on one store.
 */
function namedRequest(
  header: string | string[] | undefined,
  body: unknown,
): Result<NamedRequest | null, string> {
  return idempotencyOf(header, body).map((idempotency) => {
    if (idempotency === null) return null
    return { runId: uuidOfHash(sha256(`retrai run\n${idempotency.key}`)), idempotency }
  })
}

/**
 * Plans the run that a request asks for, or names everything that is wrong with the request: what does not fit the
 * schema (`misfit`, from the framework), and what only the agent knows about the other fields.
 */
async function planRequest(
  body: z.output<typeof CreateRun>,
  misfit: unknown,
  { planRun, defaults }: Pick<AppDeps, 'planRun' | 'defaults'>,
): Promise<Result<PlannedRun, readonly FieldProblem[]>> {
  if (!(misfit instanceof InvalidInput)) {
    const {
      reason: _,
      instructions: __,
      cwd = defaults.cwd,
      model_name = defaults.model_name,
      max_iterations = defaults.max_iterations,
      ...request
    } = body
    return planRun({ ...request, cwd, model_name, max_iterations })
  }
  const { problems } = misfit
  const request = salvage(body, defaults)
  const planned = request === null ? ok(null) : await planRun(request)
  const known = new Set(problems.map(({ field }) => field))
  const knowsGoal = problems.some(({ field }) => ofGoal(field))
  const isNew = ({ field }: FieldProblem) => !known.has(field) && !(knowsGoal && ofGoal(field))
  const further = planned.isErr() ? planned.error.filter(isNew) : []
  return err([...problems, ...further])
}

/** If a part of the goal is not valid, the rest of it cannot be judged. */
const Goals = z.object({ ...goalFields, all_of: allOf })
const ofGoal = (field: string): boolean => (field.split('.')[0] ?? '') in Goals.shape

/** The valid fields of an invalid request, with defaults for the others; null if it is not an object. */
function salvage(body: unknown, defaults: AppDeps['defaults']): RunRequest | null {
  const lenient = z.object({
    cwd: FIELDS.cwd.catch(defaults.cwd),
    model_name: FIELDS.model_name.catch(defaults.model_name),
    max_iterations: FIELDS.max_iterations.catch(defaults.max_iterations),
    max_turns_per_iteration: FIELDS.max_turns_per_iteration.catch(1),
    hitl_enabled: FIELDS.hitl_enabled.catch(false),
    max_cost_usd: FIELDS.max_cost_usd.catch(null),
    max_tokens: FIELDS.max_tokens.catch(null),
    max_seconds: FIELDS.max_seconds.catch(null),
    isolation: Level.nullable().catch(null),
    command_limits: LowerLimits.nullable().catch(null),
    network: FIELDS.network.catch('none'),
    mcp_servers: McpServers.catch([]),
    approvals: FIELDS.approvals.catch([]),
  })
  const request = lenient.safeParse(body).data
  return request === undefined ? null : { ...request, ...(Goals.safeParse(body).data ?? {}) }
}
