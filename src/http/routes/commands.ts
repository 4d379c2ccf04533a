import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { err, errAsync, ok, okAsync, type Result, ResultAsync } from 'neverthrow'
import type * as z from 'zod'
import { CreateRun } from '../../api/create-run.ts'
import type { FieldProblem, Problem } from '../../api/problems.ts'
import { type CreatedRun, RunAndStatus, StartedRun } from '../../api/runs.ts'
import type { CommandOnRun } from '../../domain/commands.ts'
import { existing } from '../../domain/decide.ts'
import { present } from '../../domain/present.ts'
import type { Idempotency } from '../../domain/records.ts'
import { statusOf } from '../../domain/state.ts'
import { INSTRUCTIONS_GOAL } from '../../domain/subagents.ts'
import { sha256 } from '../../lib/sha256.ts'
import { uuidOfHash } from '../../log/chain.ts'
import { type CommandError, handleCommand } from '../../log/handle-command.ts'
import { type LoadedRun, load } from '../../log/run-log.ts'
import { acceptanceProblems, hasAcceptance, keepAcceptance } from '../acceptance.ts'
import { type AppDeps, type PlannedRun, PROJECTION_WAIT_MS, type ZodApp } from '../deps.ts'
import { callerOf } from '../plugins/security.ts'
import { Named, nameOf, readName } from '../plugins/validation.ts'
import { COMMAND_PROBLEMS, described, problems, sendResult } from '../problems/problem.ts'
import { commandProblem, invalidFields } from '../problems/problem-of.ts'

const DESCRIPTION =
  'Unknown fields are refused, and the answer names all fields that are not valid at once. ' +
  'The Location header of the answer is the address of the run. ' +
  'With an `Idempotency-Key` header, a client can safely send the request again: the same key and ' +
  'body give the same run, and the same key with another body is refused.'

type Request = FastifyRequest & { readonly body: z.output<typeof CreateRun> }
type Answer = { readonly status: 200 | 201; readonly run: CreatedRun }

/** More than for other requests, because of the files of `accept`. */
const BODY_LIMIT_BYTES = 8 * 1024 * 1024

/** POST /api/runs */
export function createRun(app: ZodApp, deps: AppDeps): void {
  app.route({
    method: 'POST',
    url: '/api/runs',
    config: { needs: 'runs:create' },
    bodyLimit: BODY_LIMIT_BYTES,
    schema: {
      operationId: 'createRun',
      tags: ['runs'],
      summary: 'Start a run',
      description: DESCRIPTION,
      headers: Named,
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
    preValidation: readName,
    handler: async (request, reply) => {
      const name = nameOf(request)
      const runId = name === undefined ? randomUUID() : idOf(name)
      const answer = known(request, runId, name, deps)
        .andThen((before) => (before === null ? start(request, runId, name, deps) : ok(before)))
        .map(({ status, run }) => {
          reply.code(status).header('location', `/api/runs/${runId}`)
          return run
        })
      return sendResult(request, reply, answer)
    },
  })
}

/** The id of a named run is made from its name, so that it can be created only once: its stream is the lock. */
const idOf = ({ key }: Idempotency): string => uuidOfHash(sha256(`retrai run\n${key}`))

/** The answer to a request that has created its run before; null if it has not. */
function known(
  { body }: Request,
  runId: string,
  name: Idempotency | undefined,
  deps: AppDeps,
): ResultAsync<Answer | null, Problem> {
  if (name === undefined) return okAsync(null)
  return findRun(deps, runId).andThen((found): ResultAsync<Answer | null, Problem> => {
    if (found === null) return okAsync(null)
    const { type } = existing(found.state, name)
    if (type !== 'already_created') return errAsync({ code: 'key_reused' })
    const run = { run_id: runId, status: statusOf(found.state) }
    return hasAcceptance(found.state, body.accept, deps).andThen(
      (isSame): Result<Answer, Problem> =>
        isSame ? ok({ status: 200, run }) : err({ code: 'key_reused' }),
    )
  })
}

/** Plans the run and creates it, unless the same request was sent twice at the same time and the other one was faster. */
function start(
  request: Request,
  runId: string,
  name: Idempotency | undefined,
  deps: AppDeps,
): ResultAsync<Answer, Problem> {
  const { reason, instructions } = request.body
  const { pool = null } = deps
  return plan(request.body, deps)
    .mapErr(invalidFields)
    .andThen((planned) =>
      keepAcceptance(request.body, deps).map((accept) => {
        return { ...planned, config: { ...planned.config, ...accept } }
      }),
    )
    .andThen((planned) =>
      shown(
        deps,
        request,
        runId,
        handleCommand(
          deps.store,
          runId,
          {
            ...{ type: 'create', runId, ...planned, reason, pool, instructions },
            ...present({ idempotency: name }),
          },
          { author: authorOf(request), now: deps.clock },
        ),
      ).map((): Answer => ({ status: 201, run: { run_id: runId, status: 'running' } })),
    )
    .orElse((problem) =>
      problem.code === 'already_created'
        ? known(request, runId, name, deps).andThen((twin) =>
            twin === null ? err(problem) : ok(twin),
          )
        : err(problem),
    )
}

/** The run that a request asks for, or what is wrong with the request that only the agent and the server know. */
function plan(
  body: z.output<typeof CreateRun>,
  { planRun, defaults, auth }: AppDeps,
): ResultAsync<PlannedRun, readonly FieldProblem[]> {
  const {
    reason: _,
    instructions,
    cwd = defaults.cwd,
    model_name = defaults.model_name,
    max_iterations = defaults.max_iterations,
    accept,
    accept_feedback,
    ...request
  } = body
  const hidden = acceptanceProblems({ ...present({ accept }), accept_feedback })
  const planning = planRun({ ...request, cwd, model_name, max_iterations })
  return planning
    .orElse((found) => err([...found, ...hidden]))
    .andThen((planned) => {
      if (hidden.length > 0) return err(hidden)
      const { config, serverApprovals = [] } = planned
      const rules = [...serverApprovals, ...(config.approvals ?? [])]
      if (!auth.guarded && rules.some(({ by }) => by === 'other_than_starter')) {
        return err([{ field: 'approvals', message: NOBODY_ELSE }])
      }
      const isIdle = config.goal === INSTRUCTIONS_GOAL && instructions === null
      return isIdle ? err([{ field: 'instructions', message: NOTHING_TO_DO }]) : ok(planned)
    })
}

const NOBODY_ELSE =
  'A rule has "by": "other_than_starter", but this server has no tokens, so it cannot tell people apart and nobody could answer. Create tokens with "retrai token create", or leave "by" out.'

const NOTHING_TO_DO = `The goal ${INSTRUCTIONS_GOAL} needs instructions: what the agent shall do (in the CLI -m TEXT or -f FILE).`

type Deps = Pick<AppDeps, 'store' | 'readModel' | 'clock'>

/** Carries out a person's command on a run. The result comes after the read model shows it. */
export function command(
  deps: Deps,
  request: FastifyRequest,
  wanted: CommandOnRun,
): ResultAsync<LoadedRun, Problem> {
  const { runId } = request
  const snapshot = deps.readModel.get(runId)
  const options = { author: authorOf(request), now: deps.clock, snapshot }
  return shown(deps, request, runId, handleCommand(deps.store, runId, wanted, options))
}

/** Who causes the records of a request. */
export const authorOf = (request: FastifyRequest) => ({
  commandId: randomUUID(),
  principal: callerOf(request).principal,
})

/** Waits until the read model shows a run as it is after a command, so that the client finds it there; for a bounded time. */
function shown(
  { readModel }: Deps,
  request: FastifyRequest,
  runId: string,
  done: ResultAsync<LoadedRun, CommandError>,
): ResultAsync<LoadedRun, Problem> {
  return done
    .mapErr((error) => {
      const problem = commandProblem(error)
      if (['store_failed', 'damaged_record', 'busy'].includes(problem.code)) {
        request.log.error({ run_id: runId, error }, 'a command failed')
      }
      return problem
    })
    .andThen((run) => {
      const wait = readModel.waitFor(runId, run.state.seq, PROJECTION_WAIT_MS)
      return ResultAsync.fromSafePromise(wait.then(() => run))
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
