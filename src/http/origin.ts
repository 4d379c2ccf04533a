import type { FastifyRequest, preValidationAsyncHookHandler } from 'fastify'
import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { RunId, SeqInBody } from '../api/fields.ts'
import type { Problem } from '../api/problems.ts'
import type { CreateCommand, PlannedRun } from '../domain/commands.ts'
import { present } from '../domain/present.ts'
import type { Origin } from '../domain/related-runs.ts'
import { requestAgain } from '../domain/request-again.ts'
import type { RunConfig } from '../domain/run-config.ts'
import type { RunState } from '../domain/state.ts'
import { REDACTED } from '../domain/texts.ts'
import { canonicalText } from '../log/commitment.ts'
import { beginningOf } from '../log/lineage.ts'
import { type LoadedRun, load, readRecords } from '../log/run-log.ts'
import type { AppDeps } from './deps.ts'
import { invalidField, orProblem, type Refusal, removedProblem } from './problems/problem-of.ts'
import { openFiles } from './routes/files.ts'

/** A run as of the record from which a new one begins. */
export type From = LoadedRun & {
  readonly kind: Origin['kind']
  readonly systemPrompt: string
  /** Whether everybody can read the check that its agent does not see. */
  readonly hasShown: boolean
}

type Deps = Pick<AppDeps, 'store' | 'readModel' | 'artifacts' | 'redactions' | 'retention'>

const Wanted = z.looseObject({
  fork: z.object({ run_id: RunId, at: SeqInBody }).optional(),
  continues: z.object({ run_id: RunId }).optional(),
})

const known = new WeakMap<FastifyRequest, Result<From, Refusal>>()

/** The run that the new run of a request begins from; undefined if it begins from none. */
export const fromOf = (request: FastifyRequest): Result<From, Refusal> | undefined =>
  known.get(request)

/** Completes a request for a run that begins from another one, before defaults are filled in, with what that was asked for. */
export const completeFromOrigin =
  (deps: Deps): preValidationAsyncHookHandler =>
  async (request) => {
    const { body } = request
    const { fork, continues } = Wanted.safeParse(body).data ?? {}
    const wanted = fork ?? continues
    if (wanted === undefined || (fork && continues) !== undefined) return
    const names = (field: string) => Object.hasOwn(Object(body), field)
    const found = names('cwd') ? err(OTHER_FOLDER) : await findOrigin(wanted.run_id, fork?.at, deps)
    const from = found.andThen((origin) => {
      const isHidden = origin.state.config.accept !== undefined && !origin.hasShown
      return isHidden && !names('accept') ? err(STILL_HIDDEN) : ok(origin)
    })
    known.set(request, from)
    if (from.isOk()) request.body = { ...requestFrom(from.value), ...Object(body) }
  }

const OTHER_FOLDER = invalidField(
  'cwd',
  'A run that begins from another one has the folder of that one. Leave cwd out.',
)

const STILL_HIDDEN: Problem = {
  code: 'run_not_ended',
  detail:
    'The run has a check that its agent does not see, which everybody could read after the end of a fork. Fork it when it has ended, or name another check in accept.',
}

/** What the origin was asked for. Where the new run works is decided when it is planned. */
export function requestFrom({ state: { config, isolation } }: From) {
  const { workspace: _, ...asked } = requestAgain(config, { isolation })
  return { ...asked, ...(config.accept?.feedback === true && { accept_feedback: true }) }
}

/** @param at the record to fork from; undefined to continue after the last one */
export const findOrigin = (
  runId: string,
  at: number | undefined,
  deps: Deps,
): ResultAsync<From, Refusal> =>
  safeTry(async function* () {
    const { store, readModel, retention } = deps
    const removal = retention?.removalOf(runId)
    if (removal !== undefined) return err(removedProblem(removal))
    const loaded = yield* load(store, runId, at === undefined ? {} : { to: at })
    const run = yield* orProblem({ code: 'run_not_found' })(loaded)
    const { state } = run
    if (at === undefined && state.phase.type !== 'ended') {
      return err({ code: 'run_not_ended' } as const)
    }
    if (at !== undefined && state.seq < at) {
      const message = `fork.at must be at most ${state.seq}, the seq of the last record of the run.`
      return err(invalidField('fork.at', message))
    }
    yield* isWhole(state, deps)
    const [first] = yield* readRecords(store, runId, 0, 1)
    const created = first?.record
    if (created?.kind !== 'run_created') return err({ type: 'run_not_found' } as const)
    const now = readModel.get(runId)?.state ?? state
    const hasShown = now.phase.type === 'ended' || state.config.accept?.shown === true
    const kind = at === undefined ? 'continue' : 'fork'
    return ok({ ...run, kind, systemPrompt: created.payload.system_prompt, hasShown } as const)
  })

/** Whether all of a run is kept without which nothing can begin from it. */
const isWhole = ({ runId, snapshot }: RunState, deps: Deps): ResultAsync<void, Refusal> =>
  safeTry(async function* () {
    const before = await beginningOf(deps.store, runId)
    if (before.isErr()) {
      if (before.error.type !== 'damaged_record') return err(before.error)
      const { stream, seq } = before.error
      return err(originGone(`Record ${seq} of ${stream}, from which it begins itself, is gone.`))
    }
    if (snapshot === undefined) return ok()
    const { files } = yield* openFiles(runId, deps)
    return files.tree(snapshot.tree) === null
      ? err(originGone(`The files of its snapshot, record ${snapshot.seq}, are gone.`))
      : ok()
  })

export const originGone = (detail: string): Problem => ({ code: 'origin_gone', detail })

/** The runs that a run begins from, the nearest first, as far as they are known. */
export function originsOf({ origin }: RunState, readModel: Deps['readModel']): readonly Origin[] {
  const found: Origin[] = []
  const isNew = (next: Origin) => !found.some(({ run_id }) => run_id === next.run_id)
  for (let next = origin; next !== undefined && isNew(next); ) {
    found.push(next)
    next = readModel.get(next.run_id)?.state.origin
  }
  return found
}

/** Whether a text of what a run begins from was redacted. */
export const isRedacted = (origins: readonly Origin[], redactions: Deps['redactions']): boolean =>
  origins.some(({ run_id, seq }) =>
    redactions.ofRun(run_id).some(({ record }) => record.payload.seq <= seq),
  )

/** The command that creates a planned run, with what it takes over. The request may name a hidden check of its own. */
export function commandFrom(
  { kind, head: hash, state, systemPrompt: before }: From,
  { system_prompt, config, ...planned }: PlannedRun,
  { accept_feedback }: { readonly accept_feedback: boolean },
) {
  const { runId: run_id, seq, introduced, shellFolder: shell_folder } = state
  const { accept: had, cwd } = state.config
  const more = present({ feedback: accept_feedback || null })
  const accept = had && { sha256: had.sha256, files: had.files, ...more, shown: true as const }
  // Providers have the prompt in their caches, so it stays as it was if it says nothing else now.
  const isSame = before !== REDACTED && contentOf(state) === contentOf({ ...planned, config })
  const moved = before.replaceAll(`folder ${cwd}.`, () => `folder ${config.cwd}.`)
  return {
    ...planned,
    system_prompt: isSame ? moved : system_prompt,
    config: { ...present({ accept }), ...config },
    origin: { kind, run_id, seq, hash },
    taken_over: { introduced, ...present({ shell_folder, start: startOf(state, config) }) },
  } satisfies Partial<CreateCommand>
}

/** With what protected files are compared from then on. Another goal has others. */
function startOf({ runId: run_id, config, snapshot, start }: RunState, planned: RunConfig) {
  const goalOf = ({ goal, shell_goal, all_of, protect }: RunConfig) =>
    canonicalText({ goal, shell_goal, all_of, protect })
  if (goalOf(config) !== goalOf(planned)) return undefined
  if (start !== undefined) return start
  const { tree, protected: files } = snapshot?.first ?? {}
  return tree !== undefined && files !== undefined ? { run_id, tree, protected: files } : undefined
}

/** What a prompt says of a run that depends on its request. */
function contentOf({ config, isolation }: Pick<PlannedRun, 'config' | 'isolation'>): string {
  const { goal, shell_goal, all_of, network, tools } = config
  const { limits: _, policy_sha256: __, at_most: ___, ...place } = isolation ?? {}
  return canonicalText({ goal, shell_goal, all_of, network, tools, place })
}
