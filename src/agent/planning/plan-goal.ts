import { resolve } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { INSTEAD } from '../../checks/catalogue.ts'
import { ALL_OF, FIT, type Fit, type Goal, SHELL_GOAL } from '../../checks/goal.ts'
import { declaredGoal } from '../../checks/retrai-yml.ts'
import type { GoalPart, GoalRequest, RequestedPart, RunConfig } from '../../domain/run-config.ts'
import type { OpenWorkspace } from '../../workspace/workspace.ts'
import { describeProblem } from '../../workspace/workspace-process.ts'
import { folderProblems, type Problem } from './problems.ts'

/** The goal of a run, or those of `all_of`, and how they are recorded. */
export type ChosenGoal = {
  readonly goals: readonly Goal[]
  readonly config: Pick<RunConfig, 'goal' | 'shell_goal' | 'all_of'>
}

type Known = {
  readonly goals: readonly Goal[]
  /** What is wrong with a shell-goal that has no command. */
  readonly noCommand: () => string
}

/** Finds the goals that a request names, or names everything that is wrong with them. */
export function chooseGoal(
  { all_of, ...single }: GoalRequest,
  known: Known,
): Result<ChosenGoal, readonly Problem[]> {
  if (all_of === undefined && single.goal === ALL_OF) {
    const message = `The goal ${ALL_OF} needs all_of, the list of its goals.`
    return err([{ field: 'all_of', message }])
  }
  if (all_of === undefined) {
    return choosePart(single, '', known).map(({ goal, config }) => ({ goals: [goal], config }))
  }
  const { goal = ALL_OF, ...more } = single
  const beside = [...(goal === ALL_OF ? [] : ['goal']), ...Object.keys(more)]
  const problems = beside.map((field): Problem => {
    return { field, message: 'With all_of, name each goal in it, with its check.' }
  })
  const parts: ChosenPart[] = []
  for (const [at, item] of all_of.entries()) {
    const asked = typeof item === 'string' ? { goal: item } : item
    choosePart(asked, `all_of.${at}.`, known).match(
      (part) => parts.push(part),
      (found) => problems.push(...found),
    )
  }
  if (problems.length > 0) return err(problems)
  const config = { goal: ALL_OF, shell_goal: null, all_of: parts.map((part) => part.config) }
  return ok({ goals: parts.map((part) => part.goal), config })
}

type ChosenPart = { readonly goal: Goal; readonly config: GoalPart }

/** @param place what comes before the names of its fields */
function choosePart(
  { goal: name, check, goal_options: options = {} }: RequestedPart,
  place: string,
  { goals, noCommand }: Known,
): Result<ChosenPart, readonly Problem[]> {
  const problem = (field: string, message: string) => err([{ field: place + field, message }])
  if (name === undefined && check === undefined) {
    return problem(
      'goal',
      'Name a goal, a check with a command, or all_of with several goals, here or in .retrai.yml of the project. "retrai goals --cwd FOLDER" lists the goals that fit a project.',
    )
  }
  const possible = goals.filter((one) => place === '' || one.name !== ALL_OF)
  const goal = possible.find((one) => one.name === (name ?? SHELL_GOAL))
  if (goal === undefined) {
    const list = possible.map((one) => one.name).join(', ')
    return problem('goal', `There is no goal "${name}". Choose one of: ${list}. Or ${INSTEAD}.`)
  }
  if (check !== undefined && goal.takesCheck !== true) {
    const message = `The goal ${goal.name} takes no check: its command cannot be replaced.`
    return problem('check', message)
  }
  if ((check?.conditions.exit_code ?? 0) !== 0 && goal.name !== SHELL_GOAL) {
    const message = `The goal ${goal.name} needs exit code 0. Leave the condition out, or use the goal ${SHELL_GOAL}.`
    return problem('check.conditions.exit_code', message)
  }
  if (Object.keys(options).length > 0) {
    return problem('goal_options', `The goal ${goal.name} has no options.`)
  }
  if (check === undefined && goal.name === SHELL_GOAL) {
    return problem('goal', `${noCommand()}. Or name the command in the check of the request.`)
  }
  const own = check && { check_command: check.command, success_condition: check.conditions }
  return ok({ goal, config: { goal: goal.name, shell_goal: own ?? null } })
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
    const named = await declaredGoal(files)
    const found = await Promise.all(
      goals.map(async (goal) => {
        const isNamed = goal.name === named?.name
        const fit = isNamed
          ? { fit: FIT.named, because: named.because }
          : await goal.detect?.(files)
        return fit == null ? [] : [{ ...goal, ...fit }]
      }),
    )
    return ok(found.flat().sort((one, other) => other.fit - one.fit))
  }
  return new ResultAsync(find())
}
