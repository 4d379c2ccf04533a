import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { type ApprovalRule, ApprovalRules } from '../../domain/approvals/rules.ts'
import { present } from '../../domain/present.ts'
import type { GoalRequest, RequestedPart } from '../../domain/requested-goal.ts'
import type { Workspace } from '../../workspace/workspace.ts'
import { ALL_OF } from './all-of.ts'
import { textOf } from './project-files.ts'
import {
  keysWithoutEffect,
  meantKey,
  type ProjectSettings,
  readProjectSettings,
  SETTINGS_FILE,
} from './retrai-yml.ts'
import { shellGoal } from './shell-goal.ts'

type Asked = GoalRequest & { readonly approvals?: ApprovalRules | undefined }

const namesGoal = ({ goal, check, all_of }: GoalRequest): boolean =>
  all_of !== undefined || check !== undefined || (goal !== undefined && goal !== ALL_OF)

const partsOf = ({ all_of, ...single }: GoalRequest): readonly RequestedPart[] =>
  all_of?.map((part) => (typeof part === 'string' ? { goal: part } : part)) ?? [single]

/**
 * Reads `.retrai.yml` of a project if it concerns what is asked for. A file with rules for calls always does: if it
 * cannot be read, the run is refused, not started without them.
 */
export const settingsFor = (files: Workspace, asked: GoalRequest) =>
  readProjectSettings(files, (text) => {
    if (!namesGoal(asked) || hasRules(text)) return true
    const parts = partsOf(asked).filter(({ check, goal_options }) => !(check && goal_options))
    return parts.some(({ goal, check }) => {
      return goal !== undefined && (text.includes(goal) || (!check && goal === shellGoal.name))
    })
  })

/** Whether a text has rules for calls, or a misspelled key for them. */
const hasRules = (text: string): boolean =>
  text.includes('approvals') ||
  [...text.matchAll(/[\w-]+(?=["']?\s*:)/g)].some(([key]) => meantKey(key) === 'approvals')

/** The goals that the file names, in the form of a request; nothing if it names none. */
function declared(settings: ProjectSettings): GoalRequest {
  const { goal, goal_options, all_of } = settings
  if (all_of !== undefined) return { all_of }
  const check = checkOf(settings)
  if (goal === undefined && check === undefined) return {}
  return { goal: goal ?? shellGoal.name, ...present({ check, goal_options }) }
}

function checkOf({ check_command: command, success_condition: conditions }: ProjectSettings) {
  return command === undefined ? undefined : { command, conditions }
}

/**
 * What is asked for, completed from the file: the goal if none is named, and the check and the options of each goal that
 * is named without them. A field of the request always replaces that of the file.
 */
export function withSettings(asked: GoalRequest, settings: ProjectSettings | null): GoalRequest {
  if (settings === null) return asked
  const own = declared(settings)
  const known = partsOf(own)
  const check = checkOf(settings)
  const filled = (part: RequestedPart): RequestedPart => {
    const same = known.find(({ goal }) => goal !== undefined && goal === part.goal)
    const isShell = part.goal === shellGoal.name && check !== undefined
    const { goal: _, ...more } = same ?? (isShell ? { check } : {})
    return { ...more, ...part }
  }
  const { goal, ...rest } = asked
  const chosen: GoalRequest = namesGoal(asked) ? asked : { ...rest, ...own }
  const { all_of, ...single } = chosen
  if (all_of === undefined) return filled(single)
  return { ...single, all_of: partsOf({ all_of }).map(filled) }
}

/**
 * The rules of a run: its own, then those of the file. The first that applies decides, so the file can only make a run
 * stricter: without it, a call that no rule of the run fits would be allowed.
 * @param within the folder of the file, from where the rules of the run see it; '' or left out if that is the same
 */
export function withRules(
  asked: Asked,
  settings: ProjectSettings | null,
  within = '',
): Result<ApprovalRules | undefined, string> {
  const { approvals: own } = asked
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

/** What is wrong with a shell-goal that has no command. */
export const noCheckCommand = (cwd: string, settings: ProjectSettings | null): string =>
  settings === null
    ? `${join(cwd, SETTINGS_FILE)}: there is no such file. Write one with the check of the goal, such as "check_command: make check"`
    : `${join(cwd, SETTINGS_FILE)}: check_command: is missing`

const NAMED = /^goal\s*:\s*["']?([\w-]+)/m

/** Keys of the project's `.retrai.yml` that have no effect; none if there is no such file. */
export const ignoredKeys = async (files: Workspace): Promise<readonly string[]> =>
  keysWithoutEffect((await textOf(files, SETTINGS_FILE)) ?? '')

/** The goal that `.retrai.yml` names, at a glance: it is read when a run is created. Null if it names none. */
export async function declaredGoal(
  files: Workspace,
): Promise<{ readonly name: string; readonly because: string } | null> {
  const text = (await textOf(files, SETTINGS_FILE)) ?? ''
  if (/^all_of\s*:/m.test(text)) return { name: ALL_OF, because: '.retrai.yml names its goals' }
  const [, name] = NAMED.exec(text) ?? []
  return name === undefined ? null : { name, because: '.retrai.yml names it' }
}
