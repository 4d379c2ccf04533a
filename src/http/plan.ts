import { err, ok, type ResultAsync } from 'neverthrow'
import type * as z from 'zod'
import type { CreateRun } from '../api/create-run.ts'
import type { FieldProblem, Problem } from '../api/problems.ts'
import { present } from '../domain/present.ts'
import type { RunRequest } from '../domain/run-config.ts'
import { INSTRUCTIONS_GOAL } from '../domain/subagents.ts'
import { acceptanceProblems } from './acceptance.ts'
import type { AppDeps, PlannedRun } from './deps.ts'
import { type From, originGone } from './origin.ts'
import { invalidFields } from './problems/problem-of.ts'

type Body = z.output<typeof CreateRun>

/** The run that a request asks for, where it is to work. */
export function plan(
  body: Body,
  run_id: string,
  from: From | undefined,
  deps: AppDeps,
): ResultAsync<PlannedRun, Problem> {
  const { cwd = deps.defaults.cwd } = body
  if (from === undefined) return planAt({ run_id, cwd }, body, from, deps).mapErr(invalidFields)
  const { kind, state } = from
  const { copy, config } = state
  const inCopy = () =>
    planAt(
      { run_id, cwd: copy?.of.path ?? config.cwd, workspace: 'copy' },
      ...([body, from, deps] as const),
    )
  const isThere = kind === 'continue' && (copy === undefined || copy.is === 'made')
  const placed = isThere
    ? planAt({ run_id, cwd: config.cwd }, body, from, deps)
        .map((planned) => (copy === undefined ? planned : inCopyOf(planned, copy.of)))
        .orElse((wrong) => (copy !== undefined && isAboutFolder(wrong) ? inCopy() : err(wrong)))
    : inCopy()
  return placed.mapErr((wrong) =>
    isAboutFolder(wrong)
      ? originGone(wrong.map(({ message }) => message).join(' '))
      : invalidFields(wrong),
  )
}

const inCopyOf = (planned: PlannedRun, copyOf: NonNullable<PlannedRun['copyOf']>): PlannedRun => ({
  ...{ ...planned, copyOf, config: { ...planned.config, workspace: 'copy' } },
})

const isAboutFolder = (wrong: readonly FieldProblem[]): boolean =>
  wrong.some(({ field }) => field === 'cwd')

/** The run that a request asks for, or what is wrong with the request that only the agent and the server know. */
function planAt(
  place: Pick<RunRequest, 'run_id' | 'cwd' | 'workspace'>,
  body: Body,
  from: From | undefined,
  { planRun, defaults, auth }: AppDeps,
): ResultAsync<PlannedRun, readonly FieldProblem[]> {
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
      const { config, serverApprovals = [] } = planned
      const rules = [...serverApprovals, ...(config.approvals ?? [])]
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
