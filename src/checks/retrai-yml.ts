import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { distance } from 'fastest-levenshtein'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { type ApprovalRule, ApprovalRules } from '../domain/approvals/rules.ts'
import { present } from '../domain/present.ts'
import {
  allOf,
  type GoalRequest,
  goalFields,
  type RequestedPart,
  RunConfig,
  ShellGoal,
} from '../domain/run-config.ts'
import { codeOf, issuesText } from '../lib/message-of.ts'
import type { Workspace } from '../workspace/workspace.ts'
import { describeProblem, isLost } from '../workspace/workspace-process.ts'
import { ALL_OF, oneLine, SHELL_GOAL } from './goal.ts'

export const SETTINGS_FILE = '.retrai.yml'
/** Limit of the file, and of its content as JSON. */
const MAX_BYTES = 64 * 1024
/** Milliseconds are enough, but the machine may be busy. */
const PARSE_WITHIN_MS = 20_000

const { check_command, success_condition } = ShellGoal.unwrap().shape

/** Other top-level keys have no effect, which is recorded. One that is close to one of these is refused. */
const Settings = z
  .object({
    /** As in the request of a run. */
    goal: goalFields.goal,
    goal_options: goalFields.goal_options,
    all_of: allOf,
    /** The `check` of the goal. */
    check_command: check_command.exactOptional(),
    success_condition: success_condition.default({ exit_code: 0 }),
    /** Rules for calls. They come after those of the request, so they make a run stricter, never laxer. */
    approvals: ApprovalRules.exactOptional(),
    /** More protected files, beside those of the request. */
    protect: RunConfig.unwrap().shape.protect,
  })
  .refine(({ goal, all_of }) => goal === undefined || all_of === undefined, {
    path: ['goal'],
    message: 'name one goal, or several in all_of, not both',
  })
  .readonly()
type ProjectSettings = z.output<typeof Settings>

const KEYS = Object.keys(Settings.unwrap().shape)
const MOST_REPORTED = 20

/** Keys of the file of a project that have no effect. At most 20; none if there is no such file, or it is not valid. */
export const ignoredKeys = async (files: Workspace): Promise<readonly string[]> =>
  Object.keys(await contentIn(files))
    .filter((key) => !KEYS.includes(key))
    .slice(0, MOST_REPORTED)

/** In a key that is not longer, two wrong letters make another word, such as `tool` for `goal`. */
const SHORT_KEY = 5

/** The key that an unknown one is probably meant to be. */
export function meantKey(key: string): string | undefined {
  const name = key.toLowerCase()
  const isClose = (known: string): boolean =>
    distance(name, known) <= (Math.min(name.length, known.length) <= SHORT_KEY ? 1 : 2)
  return KEYS.includes(key) ? undefined : KEYS.find(isClose)
}

/** Keys that are probably misspelled: what they say would have no effect. */
function misspelled(value: unknown): string[] {
  return Object.keys(Object(value)).flatMap((key) => {
    const meant = meantKey(key)
    return meant === undefined ? [] : [`there is no "${oneLine(key)}": did you mean ${meant}?`]
  })
}

function settingsIn(value: unknown): Result<ProjectSettings, NoSettings> {
  const settings = Settings.safeParse(value)
  const problems = [...misspelled(value), ...(settings.error ? [issuesText(settings.error)] : [])]
  return settings.success && problems.length === 0
    ? ok(settings.data)
    : err({ message: problems.join('; ') })
}

/** Why there are no settings: a sentence for people, and whether that may be over in a moment. */
type NoSettings = { readonly message: string; readonly isPassing?: true }

/** The content of the file of a project; null without the file. */
async function parsed(files: Workspace): Promise<Result<unknown, NoSettings>> {
  // Most projects have none, and starting the program of the workspace takes longer than this look at a name.
  const isMissing = (cause: unknown): boolean => codeOf(cause) === 'ENOENT'
  const look = lstat(join(files.cwd, SETTINGS_FILE)).then(() => false, isMissing)
  if (await look) return ok(null)
  const asked = { path: SETTINGS_FILE, maxBytes: MAX_BYTES }
  const read = await files.ask('yaml', asked, { withinMs: PARSE_WITHIN_MS })
  if (read.isErr()) {
    const { problem } = read.error
    const message = `it cannot be read: ${describeProblem(SETTINGS_FILE, problem)}`
    return err({ message, ...(isLost(problem) && { isPassing: true }) })
  }
  return 'problem' in read.value
    ? err({ message: oneLine(read.value.problem) })
    : ok(read.value.value)
}

/** What the file of a project holds, at a glance: nothing if it is missing or not valid. */
export const contentIn = async (files: Workspace): Promise<Readonly<Record<string, unknown>>> =>
  Object((await parsed(files)).unwrapOr(null))

/** Reads the settings of a project; null if it has no such file. The error names every problem. */
export const readProjectSettings = (
  files: Workspace,
): ResultAsync<ProjectSettings | null, NoSettings> =>
  new ResultAsync(parsed(files))
    .andThen((value) => (value === null ? ok(null) : settingsIn(value)))
    .mapErr((problem) => {
      return { ...problem, message: `${join(files.cwd, SETTINGS_FILE)}: ${problem.message}` }
    })

const namesGoal = ({ goal, check, all_of }: GoalRequest): boolean =>
  all_of !== undefined || check !== undefined || (goal !== undefined && goal !== ALL_OF)

const asPart = (part: string | RequestedPart): RequestedPart =>
  typeof part === 'string' ? { goal: part } : part

/**
 * What is asked for, completed from the file: the goal if none is named, and the check and the options of each goal that
 * is named without them. A field of the request always replaces that of the file.
 */
export function withSettings(asked: GoalRequest, settings: ProjectSettings | null): GoalRequest {
  if (settings === null) return asked
  const { goal, goal_options, all_of, check_command: command } = settings
  const check = command && { check: { command, conditions: settings.success_condition } }
  const single: RequestedPart = { ...present({ goal, goal_options }), ...check }
  const known = all_of?.map(asPart) ?? [single]
  const filled = (part: RequestedPart): RequestedPart => {
    const same = known.find((one) => one.goal !== undefined && one.goal === part.goal)
    return { ...(same ?? (part.goal === SHELL_GOAL && check)), ...part }
  }
  const { goal: _, ...rest } = asked
  const chosen: GoalRequest = namesGoal(asked)
    ? asked
    : { ...rest, ...(all_of ? { all_of } : single) }
  const { all_of: several, ...one } = chosen
  if (several !== undefined) return { ...one, all_of: several.map((part) => filled(asPart(part))) }
  return filled(one)
}

/**
 * The rules of a run: its own, then those of the file. The first that applies decides, so the file can only make a run
 * stricter: without it, a call that no rule of the run fits would be allowed.
 * @param within the folder of the file, from where the rules of the run see it; '' or left out if that is the same
 */
export function withRules(
  { approvals: own }: { readonly approvals?: ApprovalRules | undefined },
  settings: ProjectSettings | null,
  within = '',
): Result<ApprovalRules | undefined, string> {
  const known = new Set(own?.map((rule) => JSON.stringify(rule)))
  const isNew = (rule: ApprovalRule): boolean => !known.has(JSON.stringify(rule))
  const here = (rule: ApprovalRule): ApprovalRule =>
    rule.path === undefined || within === '' ? rule : { ...rule, path: join(within, rule.path) }
  const added = settings?.approvals?.map(here).filter(isNew) ?? []
  if (added.length === 0) return ok(own)
  const rules = ApprovalRules.safeParse([...(own ?? []), ...added])
  if (rules.success) return ok(rules.data)
  return err(
    `With the ${added.length} rules of ${SETTINGS_FILE}, the run has too many, or too long ones.`,
  )
}

/** The globs of protected files of a run: its own, and those of the file. */
export function withProtected(
  { protect: own }: Pick<RunConfig, 'protect'>,
  settings: ProjectSettings | null,
): Result<RunConfig['protect'], string> {
  const all = [...new Set([...(own ?? []), ...(settings?.protect ?? [])])]
  const globs = RunConfig.unwrap().shape.protect.safeParse(all)
  if (all.length === 0 || globs.success) return ok(all.length === 0 ? undefined : globs.data)
  return err(`With those of ${SETTINGS_FILE}, the run has too many globs of protected files.`)
}

/** What is wrong with a shell-goal that has no command. */
export const noCheckCommand = (cwd: string, settings: ProjectSettings | null): string =>
  settings === null
    ? `${join(cwd, SETTINGS_FILE)}: there is no such file. Write one with the check of the goal, such as "check_command: make check"`
    : `${join(cwd, SETTINGS_FILE)}: check_command: is missing`

/** The goal that `.retrai.yml` names; null if it names none. */
export async function declaredGoal(
  files: Workspace,
): Promise<{ readonly name: string; readonly because: string } | null> {
  const { goal, all_of } = await contentIn(files)
  if (all_of !== undefined) return { name: ALL_OF, because: '.retrai.yml names its goals' }
  return typeof goal === 'string' ? { name: goal, because: '.retrai.yml names it' } : null
}
