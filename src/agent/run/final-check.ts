import { buffer } from 'node:stream/consumers'
import { ok, type Result } from 'neverthrow'
import type { CleanCopy, PutFile } from '../../carry/clean-copy.ts'
import { reinstall } from '../../carry/reinstall.ts'
import { cannotCheck, type GoalVerdict, joined, oneLine } from '../../checks/goal.ts'
import { versionsAt } from '../../checks/versions.ts'
import { present } from '../../domain/present.ts'
import { INSTRUCTIONS_GOAL } from '../../domain/related-runs.ts'
import type { Accept } from '../../domain/run-config.ts'
import { MOST_NAMED, type Tampered } from '../../domain/snapshots.ts'
import { isUntouched } from '../../domain/state.ts'
import { doubtOf, type FinalCheck } from '../../domain/verdict.ts'
import { pathBytes } from '../../lib/git-objects.ts'
import { readAcceptance } from '../../log/acceptance.ts'
import type { CheckHomeOf } from '../../sandbox/check-homes.ts'
import { describeProblem } from '../../workspace/workspace-process.ts'
import type { Work } from './effects.ts'
import { type StartOfRun, startOfRun } from './start-of-run.ts'

/** Where a goal is checked. */
export type Place = Pick<CleanCopy, 'cwd' | 'files' | 'runCommand'>

/** What was found when the check of the goal succeeded in the project. */
export type Reached = {
  /** The files that were checked. */
  readonly tree: string | null
  /** Protected files that are not those of the start. */
  readonly tampering: readonly Tampered[]
  /** The home of the checks of the run. */
  readonly checkHome: CheckHomeOf | null
  /** Checks the goal, or a command that the agent does not see, in a copy. */
  readonly check: (place: Place, command?: string) => Promise<GoalVerdict>
}

/** The start of the run; null if nobody asks what has changed since; or why it is not known, as a sentence for people. */
type Start = Result<StartOfRun | null, string>
/** A check in a copy, and the packages and programs that it was made with. */
type Checked = Pick<FinalCheck, 'dependencies' | 'versions'> & {
  readonly verdict: GoalVerdict
  /** What could not be copied. */
  readonly left: readonly string[]
}

/**
 * The last check before a run may end as achieved: in a copy of the project that nothing else can change, with protected files as they
 * were at the start, and by the check that the agent does not see. Null if this run has neither.
 */
export async function finalCheck(work: Work, reached: Reached): Promise<FinalCheck | null> {
  const { state } = work.session
  const { config, snapshot } = state
  const { on_tampering: mode = 'report', accept: hidden } = config
  // A run that an earlier version began has no list of its start, so that nothing can be compared.
  const isKnown = snapshot?.first.protected !== undefined || mode === 'fail'
  const looks =
    mode !== 'off' && isKnown && !isUntouched(state) && config.goal !== INSTRUCTIONS_GOAL
  if (!looks && hidden === undefined) return null
  const began = performance.now()
  const start: Start = looks ? await startOfRun(work) : ok(null)
  const checked = looks ? await originalChecks(work, reached, start) : null
  const { verdict: original = null, dependencies = null } = checked ?? {}
  const found = {
    original_checks: original?.verdict ?? null,
    tampering: looks ? reached.tampering : [],
    dependencies,
    tree: reached.tree,
  }
  const doubt = doubtOf({ as_is: 'achieved', accept: null, ...found })
  const isTampered = mode === 'fail' && doubt !== null
  const accepted = hidden && !isTampered ? await accept(work, reached, start, hidden) : null
  const acceptance = accepted?.verdict ?? null
  const { left = [], versions = null } = checked ?? accepted ?? {}
  const notCopied = [...(start.unwrapOr(null)?.notCopied ?? []), ...left]
  const refusal = acceptance?.verdict === 'achieved' ? null : acceptance
  const rejected = isTampered ? 'tampering' : refusal ? 'accept' : null
  const why = original?.verdict === 'achieved' ? null : original
  const told = hidden?.feedback === true ? refusal : null
  return {
    ...found,
    accept: acceptance?.verdict ?? null,
    rejected,
    ...(notCopied.length > 0 && { not_copied: notCopied.slice(0, MOST_NAMED) }),
    ...present({ versions }),
    reason: reasonOf(doubt, why, refusal, told),
    feedback: feedbackOf(rejected, found.tampering, why, told),
    duration_ms: Math.round(performance.now() - began),
  }
}

/** Added tests could change what others find, so they run only in a second check, and both must succeed. */
async function originalChecks(work: Work, reached: Reached, start: Start): Promise<Checked> {
  const added = start.unwrapOr(null)?.added ?? []
  const removed = added.map((path) => ({ path, content: null }))
  const made = await inCopy(work, reached, start, removed)
  const { protection } = work.snapshots
  const first = { ...made, verdict: await protection.withoutLost(made.verdict) }
  const isDone = added.length === 0 || first.verdict.verdict !== 'achieved'
  return isDone ? first : inCopy(work, reached, start, [])
}

/** The check that the agent does not see, in a copy of its own: what ran in another could have prepared that. */
async function accept(
  work: Work,
  reached: Reached,
  start: Start,
  { sha256 }: Accept,
): Promise<Checked> {
  const kept = await work.effects.readArtifact(sha256)
  if (kept === null) return unmade('Its artifact is missing')
  const read = readAcceptance(await buffer(kept.stream), sha256)
  if (read.isErr()) return unmade(read.error)
  const files = Object.entries(read.value.files).map(([path, content]) => {
    return { path: pathBytes(path), content: Buffer.from(content) }
  })
  return inCopy(work, reached, start, files, read.value.command)
}

const unmade = (why: string): Checked => ({
  verdict: cannotCheck(why),
  dependencies: null,
  left: [],
})

/** Checks in a new copy, with these files beside those of the start. */
async function inCopy(
  work: Work,
  { tree, check, checkHome }: Reached,
  start: Start,
  files: readonly PutFile[],
  command?: string,
): Promise<Checked> {
  const { session, effects, signal } = work
  const { runId: run, config, isolation: policy, project: folder } = session.state
  if (start.isErr()) return unmade(start.error)
  if (tree === null) return unmade('There is no snapshot of the project')
  const { notCopied: skip, dependencies: folders, original, files: own } = start.value ?? NOTHING
  const project = { cwd: config.cwd, policy, ...present({ folder }) }
  const opened = await effects.openCleanCopy({ project, run, skip, signal })
  if (opened.isErr()) return unmade(`The project cannot be copied: ${opened.error}`)
  await using copy = opened.value
  const copied = await copy.tree()
  if (copied.isErr()) return unmade(describeProblem('.', copied.error.problem))
  if (copied.value !== tree) return unmade('The project was changed while it was checked')
  const put = () => copy.put([...own, ...files])
  let made = await put()
  let dependencies: FinalCheck['dependencies'] = 'same'
  if (made.isOk() && folders.length > 0) {
    const network = policy?.level === 'none' ? 'full' : (config.network ?? 'none')
    dependencies = await reinstall(copy, { folders, original, network, checkHome, signal })
    // Scripts of packages may have changed anything.
    made = await put()
  }
  if (made.isErr()) return unmade(describeProblem('.', made.error.problem))
  const verdict = await check(copy, command)
  const versions = await versionsAt({ ...copy, signal }, effects.variables)
  return { verdict, dependencies, left: copy.left, versions }
}

/** A copy as the project is. */
const NOTHING: StartOfRun = {
  files: [],
  added: [],
  notCopied: [],
  dependencies: [],
  original: async () => null,
}

/** For people. */
function reasonOf(
  doubt: string | null,
  why: GoalVerdict | null,
  refusal: GoalVerdict | null,
  told: GoalVerdict | null,
): string {
  if (refusal !== null) {
    const how = refusal.verdict === 'cannot_check' ? 'could not be made' : 'did not succeed'
    const more = told === null ? '' : `: ${oneLine(told.reason)}`
    return `The check that the agent does not see ${how}${more}`
  }
  if (doubt === null) return 'The check succeeds with the files of the start, too'
  return `The goal is reached, but ${doubt}${why === null ? '' : ` (${oneLine(why.reason)})`}`
}

/** For the model. */
function feedbackOf(
  rejected: FinalCheck['rejected'],
  tampering: FinalCheck['tampering'],
  why: GoalVerdict | null,
  refusal: GoalVerdict | null,
): string {
  if (rejected === null) return ''
  if (rejected === 'accept') {
    const told = refusal === null ? 'You cannot see it.' : `${refusal.reason}\n\n${refusal.details}`
    return `The check of the goal succeeds, but another check of what was asked for does not. ${told}`
  }
  const named = tampering.map(({ path, change }) => `- ${path} (${change})`).join('\n')
  return joined(
    '\n\n',
    'The goal does not count as reached yet.',
    named !== '' &&
      `These files decide what the check finds, and are not what they were when the run began:\n${named}\n` +
        'Restore them exactly, remove those that were added, and reach the goal without them.',
    why !== null &&
      `In a clean copy of the project, with these files as they were at the start, the check says: ${why.reason}\n\n${why.details}`,
  )
}
