import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow'
import type * as z from 'zod'
import { CreateRun } from '../../api/create-run.ts'
import type { FieldProblem } from '../../api/problems.ts'
import { RunAndStatus, StartedRun } from '../../api/runs.ts'
import type { PlannedRun } from '../../domain/commands.ts'
import { existing } from '../../domain/decide.ts'
import { present } from '../../domain/present.ts'
import type { Idempotency } from '../../domain/records.ts'
import { INSTRUCTIONS_GOAL } from '../../domain/related-runs.ts'
import type { ProjectFolder, RunRequest } from '../../domain/run-config.ts'
import { statusOf } from '../../domain/state.ts'
import { sha256 } from '../../lib/sha256.ts'
import { uuidOfHash } from '../../log/chain.ts'
import { handleCommand } from '../../log/handle-command.ts'
import { acceptanceProblems, hasAcceptance, keepAcceptance } from '../acceptance.ts'
import type { AppDeps } from '../deps.ts'
import { described, operation } from '../operation.ts'
import { commandFrom, completeFromOrigin, type From, fromOf, originGone } from '../origin.ts'
import { Named, nameOf, readName } from '../plugins/validation.ts'
import {
  type PlanProblem,
  planProblem,
  type Refusal,
  removedProblem,
} from '../problems/problem-of.ts'
import { authorOf, findRun, shown } from './commands.ts'

const DESCRIPTION =
  'Unknown fields are refused, and the answer names all fields that are not valid at once. ' +
  'The Location header of the answer is the address of the run. ' +
  'With an `Idempotency-Key` header, a client can safely send the request again: the same key and ' +
  'body give the same run, and the same key with another body is refused.'

type Body = z.output<typeof CreateRun>
export type Answer = { readonly status: 200 | 201; readonly run: RunAndStatus }

/** A run that is wanted. */
export type Wanted = {
  readonly runId: string
  readonly name: Idempotency | undefined
  readonly body: Body
  /** What it begins from, if that is there. */
  readonly from: Result<From, Refusal> | undefined
}

/** More than for other requests, because of the files of `accept`. */
const BODY_LIMIT_BYTES = 8 * 1024 * 1024

export function createRun(app: FastifyInstance, deps: AppDeps): void {
  operation(app, 'POST /api/runs', {
    needs: 'runs:create',
    id: 'createRun',
    tag: 'runs',
    summary: 'Start a run',
    description: DESCRIPTION,
    headers: Named,
    body: CreateRun,
    bodyLimit: BODY_LIMIT_BYTES,
    answers: {
      200: described(
        'An earlier request with the same Idempotency-Key created this run',
        RunAndStatus,
      ),
      201: described('The run is in the log, and its agent starts at once', StartedRun),
    },
    preValidation: [readName, completeFromOrigin(deps)],
    handle: (request, reply) => {
      const name = nameOf(request)
      const runId = name === undefined ? randomUUID() : idOf(name)
      const removal = deps.retention.removalOf(runId)
      if (removal !== undefined) return err(removedProblem(removal))
      const wanted = { runId, name, body: request.body, from: fromOf(request) }
      return startOnce(request, wanted, deps).map(({ status, run }) => {
        reply.code(status).header('location', `/api/runs/${runId}`)
        return run
      })
    },
  })
}

/** The id of a named run is made from its name, so that it can be created only once: its stream is the lock. */
export const idOf = ({ key }: Idempotency): string => uuidOfHash(sha256(`retrai run\n${key}`))

/** Starts the run, unless the same request has done that before. */
export const startOnce = (
  request: FastifyRequest,
  wanted: Wanted,
  deps: AppDeps,
): ResultAsync<Answer, Refusal> =>
  known(wanted, deps).andThen((before) =>
    before === null ? start(request, wanted, deps) : ok(before),
  )

/** The answer to a request that has created its run before; null if it has not. */
const known = ({ runId, name, body }: Wanted, deps: AppDeps): ResultAsync<Answer | null, Refusal> =>
  safeTry(async function* () {
    if (name === undefined) return ok(null)
    const found = yield* findRun(deps, runId)
    if (found === null) return ok(null)
    const { state } = found
    const isSame =
      existing(state, name).type === 'already_created' &&
      (yield* hasAcceptance(state, body.accept, deps))
    if (!isSame) return err({ type: 'key_reused' } as const)
    return ok({ status: 200, run: { run_id: runId, status: statusOf(state) } } as const)
  })

/** Plans the run and creates it, unless the same request was sent twice at the same time and the other one was faster. */
const start = (
  request: FastifyRequest,
  wanted: Wanted,
  deps: AppDeps,
): ResultAsync<Answer, Refusal> =>
  safeTry<Answer, Refusal>(async function* () {
    const { runId, name, body } = wanted
    const from = wanted.from && (yield* wanted.from)
    const { config, ...planned } = yield* plan(wanted, from, deps)
    const run = { ...planned, config: { ...config, ...(yield* keepAcceptance(body, deps)) } }
    // It may have been removed while the run was planned.
    const removal = from && deps.retention.removalOf(from.state.runId)
    if (removal !== undefined) return err(removedProblem(removal))
    const command = {
      type: 'create',
      runId,
      reason: body.reason,
      pool: deps.pool ?? null,
      instructions: body.instructions,
      ...(from === undefined ? run : commandFrom(from, run, body)),
      ...present({ idempotency: name }),
    } as const
    const how = { author: authorOf(request), now: deps.clock }
    yield* shown(deps, handleCommand(deps.store, runId, command, how))
    return ok({ status: 201, run: { run_id: runId, status: 'running' } } as const)
  }).orElse((refusal) =>
    'type' in refusal && refusal.type === 'already_created'
      ? known(wanted, deps).andThen((twin) => (twin === null ? err(refusal) : ok(twin)))
      : err(refusal),
  )

/** The run that a request asks for, where it is to work. */
function plan(
  { runId: run_id, body }: Wanted,
  from: From | undefined,
  deps: AppDeps,
): ResultAsync<PlannedRun, Refusal> {
  const at = (cwd: string, workspace?: 'copy') =>
    planAt({ run_id, cwd, ...present({ workspace }) }, body, from, deps)
  if (from === undefined) return at(body.cwd ?? deps.defaults.cwd).mapErr(planProblem)
  const { copy, config } = from.state
  const inCopy = () => at(copy?.of.path ?? config.cwd, 'copy')
  const inPlace = () =>
    at(config.cwd)
      .map((planned) => (copy === undefined ? planned : inCopyOf(planned, copy.of)))
      .orElse((wrong) => (copy !== undefined && isAboutFolder(wrong) ? inCopy() : err(wrong)))
  const isThere = from.kind === 'continue' && (copy === undefined || copy.is === 'made')
  return (isThere ? inPlace() : inCopy()).mapErr((wrong) =>
    isAboutFolder(wrong)
      ? originGone(wrong.map(({ message }) => message).join(' '))
      : planProblem(wrong),
  )
}

const inCopyOf = (planned: PlannedRun, copy_of: ProjectFolder): PlannedRun => ({
  ...planned,
  copy_of,
  config: { ...planned.config, workspace: 'copy' },
})

const isAboutFolder = (wrong: readonly FieldProblem[]): boolean =>
  wrong.some(({ field }) => field === 'cwd')

/** The run that a request asks for, or what is wrong with the request that only the agent and the server know. */
function planAt(
  place: Pick<RunRequest, 'run_id' | 'cwd' | 'workspace'>,
  body: Body,
  from: From | undefined,
  { planRun, defaults, auth }: AppDeps,
): ResultAsync<PlannedRun, readonly PlanProblem[]> {
  const {
    reason: _,
    fork: __,
    continues: ___,
    instructions,
    model_name = defaults.model_name,
    max_iterations = defaults.max_iterations,
    accept,
    accept_feedback,
    ...request
  } = body
  const hasOne = from?.state.config.accept !== undefined
  const hidden = acceptanceProblems({ ...present({ accept }), accept_feedback }, hasOne)
  const { run_id, ...at } = place
  const asked = { ...request, model_name, max_iterations, ...at }
  // A copy is in a folder that is named after its run.
  const planning = planRun({ ...asked, ...(asked.workspace && { run_id }) })
  return planning
    .orElse((found) => err([...found, ...hidden]))
    .andThen((planned) => {
      if (hidden.length > 0) return err(hidden)
      const { config, server_approvals = [] } = planned
      const rules = [...server_approvals, ...(config.approvals ?? [])]
      if (!auth.guarded && rules.some(({ by }) => by === 'other_than_starter')) {
        return err([{ field: 'approvals', message: NOBODY_ELSE }])
      }
      const isIdle =
        config.goal === INSTRUCTIONS_GOAL && instructions === null && from === undefined
      return isIdle ? err([{ field: 'instructions', message: NOTHING_TO_DO }]) : ok(planned)
    })
}

const NOBODY_ELSE =
  'A rule has "by": "other_than_starter", but this server has no tokens, so it cannot tell people apart and nobody could answer. Create tokens with "retrai token create", or leave "by" out.'

const NOTHING_TO_DO = `The goal ${INSTRUCTIONS_GOAL} needs instructions: what the agent shall do (in the CLI -m TEXT or -f FILE).`
