import { resolve } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import type { GoalRequest, RequestedPart } from '../domain/requested-goal.ts'
import type {
  GoalOption,
  GoalOptions,
  GoalPart,
  RunConfig,
  ShellGoal,
} from '../domain/run-config.ts'
import type { OpenWorkspace, Workspace } from '../workspace/workspace.ts'
import { folderProblems } from './data-folder.ts'
import { ALL_OF } from './goals/all-of.ts'
import { FIT, type Fit, type Goal } from './goals/goal.ts'
import { declaredGoal, ignoredKeys } from './goals/project-settings.ts'
import { SETTINGS_FILE } from './goals/retrai-yml.ts'
import { shellGoal } from './goals/shell-goal.ts'
import type { Problem } from './model-problems.ts'
import { describeProblem } from './tools/path-problem.ts'

/** The goal of a run, with those of `all_of`. */
export type ChosenGoal = {
  readonly goal: Goal
  readonly parts: readonly ChosenPart[]
}

type ChosenPart = {
  readonly goal: Goal
  readonly shellGoal: ShellGoal | null
  readonly options: GoalOptions | undefined
  /** The field of the request that names it; '' if it is the request itself. */
  readonly field: string
}

/** Finds the goals that a request names, or names everything that is wrong with them. */
export function chooseGoal(
  { all_of, ...single }: GoalRequest,
  goals: readonly Goal[],
): Result<ChosenGoal, readonly Problem[]> {
  if (all_of === undefined) {
    if (single.goal === ALL_OF) {
      const message = `The goal ${ALL_OF} needs all_of, the list of its goals.`
      return err([{ field: 'all_of', message }])
    }
    return choosePart(single, '', goals).map((part) => ({ goal: part.goal, parts: [part] }))
  }
  const problems = besides(single)
  const parts: ChosenPart[] = []
  for (const [index, item] of all_of.entries()) {
    const part = choosePart(
      typeof item === 'string' ? { goal: item } : item,
      `all_of.${index}`,
      goals,
    )
    if (part.isErr()) problems.push(...part.error)
    else parts.push(part.value)
  }
  const goal = goals.find(({ name }) => name === ALL_OF)
  return problems.length > 0 || goal === undefined ? err(problems) : ok({ goal, parts })
}

/** What a request says about a goal that it names in addition to all_of. */
function besides({ goal = ALL_OF, check, goal_options }: RequestedPart): Problem[] {
  const message = 'With all_of, name each goal in it, with its check and goal_options.'
  const fields = [
    ...(goal === ALL_OF ? [] : ['goal']),
    ...(check === undefined ? [] : ['check']),
    ...(goal_options === undefined ? [] : ['goal_options']),
  ]
  return fields.map((field) => ({ field, message }))
}

function choosePart(
  { goal: name, check, goal_options: options }: RequestedPart,
  field: string,
  goals: readonly Goal[],
): Result<ChosenPart, readonly Problem[]> {
  const at = (inner: string): string => (field === '' ? inner : `${field}.${inner}`)
  if (name === undefined && check === undefined) {
    const message =
      'Name a goal, a check with a command, or all_of with several goals, here or in .retrai.yml of the project. "retrai goals --cwd FOLDER" lists the goals that fit a project.'
    return err([{ field: at('goal'), message }])
  }
  const goal = goals.find((known) => known.name === (name ?? shellGoal.name))
  if (goal === undefined || (field !== '' && goal.name === ALL_OF)) {
    const known = goals.filter((one) => field === '' || one.name !== ALL_OF)
    const list = known.map((one) => one.name).join(', ')
    return err([
      { field: at('goal'), message: `There is no goal "${name}". Choose one of: ${list}.` },
    ])
  }
  const problems = [...checkProblems(goal, check, at), ...optionProblems(goal, options ?? {}, at)]
  if (problems.length > 0) return err(problems)
  const command = check && {
    check_command: check.command,
    success_condition: check.conditions,
  }
  return ok({ goal, shellGoal: command ?? null, options, field })
}

type At = (inner: string) => string

function checkProblems({ name, takes }: Goal, check: RequestedPart['check'], at: At): Problem[] {
  const field = at('check')
  if (check === undefined) {
    if (takes?.check !== 'required') return []
    return [{ field, message: `The goal ${name} needs a check with the command to run.` }]
  }
  if (takes?.check === undefined) {
    return [{ field, message: `The goal ${name} takes no check: its command cannot be replaced.` }]
  }
  const code = check.conditions.exit_code ?? 0
  if (code === 0 || name === 'shell-goal') return []
  const message = `The goal ${name} needs exit code 0. Leave the condition out, or use the goal shell-goal.`
  return [{ field: at('check.conditions.exit_code'), message }]
}

function optionProblems({ name, takes }: Goal, options: GoalOptions, at: At): Problem[] {
  const known = takes?.options ?? {}
  const names = Object.keys(known)
  const other = Object.keys(options).filter((option) => !names.includes(option))
  const takesThese = names.length === 0 ? 'It has no options' : `It takes ${names.join(', ')}`
  const missing = names.filter(
    (option) => known[option as GoalOption] === 'required' && !(option in options),
  )
  return [
    ...other.map((option) => ({
      field: at(`goal_options.${option}`),
      message: `The goal ${name} takes no option ${option}. ${takesThese}.`,
    })),
    ...missing.map((option) => ({
      field: at(`goal_options.${option}`),
      message: `The goal ${name} needs the option ${option}: add it to goal_options (in the CLI --option ${option}=…).`,
    })),
  ]
}

/** The configuration of the chosen goals. @param noCommand what is wrong with a shell-goal that has no command */
export function prepareGoal(
  { goal, parts }: ChosenGoal,
  noCommand: () => string,
): Result<Pick<RunConfig, 'goal' | 'shell_goal' | 'goal_options' | 'all_of'>, readonly Problem[]> {
  const without = parts.find((part) => part.goal.name === shellGoal.name && part.shellGoal === null)
  if (without !== undefined) {
    const message = `${noCommand()}. Or name the command in the check of the request.`
    return err([{ field: without.field === '' ? 'goal' : `${without.field}.goal`, message }])
  }
  const prepared = parts.map(({ goal: own, shellGoal: shell_goal, options }): GoalPart => {
    return { goal: own.name, shell_goal, ...(options && { goal_options: options }) }
  })
  const [only] = prepared
  if (goal.name !== ALL_OF && only !== undefined) return ok(only)
  return ok({ goal: goal.name, shell_goal: null, all_of: prepared })
}

/** The goals that fit the project in a folder, best first; the problems of a folder that no run may have. */
export function fittingGoals(
  folder: string,
  goals: readonly Goal[],
  { dataDir, openWorkspace }: { dataDir: string | null; openWorkspace: OpenWorkspace },
): ResultAsync<readonly (Goal & Fit)[], readonly Problem[]> {
  const find = async (): Promise<Result<readonly (Goal & Fit)[], readonly Problem[]>> => {
    const cwd = resolve(folder)
    const problems = await folderProblems(cwd, dataDir)
    if (problems.length > 0) return err(problems)
    await using files = openWorkspace({ cwd })
    const seen = await files.ask('resolve', { paths: ['.'] })
    if (seen.isErr()) {
      const message = describeProblem(cwd, seen.error.problem)
      return err([{ field: 'cwd', message }])
    }
    return ok(await fitting(files, goals))
  }
  return new ResultAsync(find())
}

async function fitting(files: Workspace, goals: readonly Goal[]): Promise<readonly (Goal & Fit)[]> {
  const named = await declaredGoal(files)
  const found = await Promise.all(
    goals.map(async (goal) => {
      const isNamed = goal.name === named?.name
      const fit = isNamed ? { fit: FIT.named, because: named.because } : await goal.detect?.(files)
      return fit == null ? [] : [{ ...goal, ...fit }]
    }),
  )
  const [best, ...others] = found.flat().sort((one, other) => other.fit - one.fit)
  if (best === undefined) return []
  const ignored = await ignoredKeys(files)
  if (ignored.length === 0) return [best, ...others]
  const have = ignored.length === 1 ? 'has' : 'have'
  const note = `in ${SETTINGS_FILE}, ${ignored.join(', ')} ${have} no effect`
  const because = `${best.because} (${note})`
  return [{ ...best, because }, ...others]
}

/**
 * Which goals of a run do not seem to fit its project, as sentences for people; null if all do, or bring a command.
 * @param goals those of the run, or all: then it names those that fit
 */
export async function misfit(
  { goal, shell_goal, all_of }: RunConfig,
  goals: readonly Goal[],
  files: Workspace,
): Promise<string | null> {
  const parts = all_of ?? [{ goal, shell_goal }]
  const shown = parts.filter(
    ({ goal: name, shell_goal: own }) =>
      own === null && goals.some((one) => one.name === name && one.detect !== undefined),
  )
  if (shown.length === 0 || (await files.ask('resolve', { paths: ['.'] })).isErr()) return null
  const found = await fitting(files, goals)
  const strange = shown.filter(({ goal: name }) => !found.some((one) => one.name === name))
  if (strange.length === 0) return null
  const others = found.map(({ name, because }) => `${name} (${because})`)
  const names = strange.map(({ goal: name }) => name).join(', ')
  const better = others.length === 0 ? '' : ` What fits: ${others.join(', ')}.`
  return `The goal ${names} does not seem to fit this project.${better}`
}
