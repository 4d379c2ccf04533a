import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { ApprovalRules } from '../../domain/approvals/rules.ts'
import { allOf, goalFields } from '../../domain/requested-goal.ts'
import { ShellGoal, SuccessCondition } from '../../domain/run-config.ts'
import { issuesText } from '../../lib/issues-text.ts'
import { codeOf } from '../../lib/message-of.ts'
import type { WorkspaceProblem } from '../../workspace/connection.ts'
import type { Workspace } from '../../workspace/workspace.ts'
import { describeProblem } from '../tools/path-problem.ts'
import { textOf } from './project-files.ts'
import { oneLine } from './text.ts'

export const SETTINGS_FILE = '.retrai.yml'
/** Limit of the file, and of its content as JSON. */
const MAX_BYTES = 64 * 1024
/** Milliseconds are enough, but the machine may be busy. */
const PARSE_WITHIN_MS = 20_000
const TOOK_TOO_LONG = `parsing it took more than ${PARSE_WITHIN_MS / 1_000} s. Write only what the check needs, or try again when this machine is less busy`
const OUTGROWN = 'it is too deep or too large to be parsed as YAML. Write only what the check needs'

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
  })
  .refine(({ goal, all_of }) => goal === undefined || all_of === undefined, {
    path: ['goal'],
    message: 'name one goal, or several in all_of, not both',
  })
  .readonly()
export type ProjectSettings = z.output<typeof Settings>

const KEYS = Object.keys(Settings.unwrap().shape)
/** The most wrong letters of a long key. In a short one, two wrong letters make another word, such as `tool` for `goal`. */
const MOST_WRONG = 2
const SHORT_KEY = 5

const TOP_LEVEL_KEY = /^(["']?)([\w-]{1,100})\1[ \t]*:(?=\s|$)/gm
const MOST_REPORTED = 20

/** Keys of a file that have no effect, at a glance: it is not parsed. At most 20. */
export function keysWithoutEffect(text: string): readonly string[] {
  const keys = [...text.matchAll(TOP_LEVEL_KEY)].map(([, , key = '']) => key)
  return [...new Set(keys)].filter((key) => !KEYS.includes(key)).slice(0, MOST_REPORTED)
}

/** The key that an unknown one is probably meant to be; null if it is known, or close to none. */
export function meantKey(key: string): string | null {
  if (KEYS.includes(key)) return null
  const name = key.toLowerCase()
  const isClose = (known: string): boolean =>
    distance(name, known) <= (Math.min(name.length, known.length) <= SHORT_KEY ? 1 : MOST_WRONG)
  return KEYS.find(isClose) ?? null
}

/** How many letters are added, missing, wrong or exchanged with their neighbour. More than `MOST_WRONG` is not counted. */
function distance(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > MOST_WRONG) return MOST_WRONG + 1
  const rows = [Array.from({ length: other.length + 1 }, (_, column) => column)]
  for (let row = 1; row <= one.length; row += 1) {
    const [before, above = []] = [rows[row - 2], rows[row - 1]]
    const line = [row]
    for (let column = 1; column <= other.length; column += 1) {
      const at = (cells: readonly number[] | undefined, back: number): number =>
        cells?.[column - back] ?? Number.POSITIVE_INFINITY
      const isSame = one[row - 1] === other[column - 1]
      const isSwapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      const swapped = isSwapped ? at(before, 2) + 1 : Number.POSITIVE_INFINITY
      line.push(
        Math.min(at(above, 0) + 1, at(line, 1) + 1, at(above, 1) + Number(!isSame), swapped),
      )
    }
    rows.push(line)
  }
  return rows.at(-1)?.at(-1) ?? other.length
}

/** Keys that are probably misspelled: what they say would have no effect. */
function misspelled(value: unknown): string[] {
  return Object.keys(Object(value)).flatMap((key) => {
    const meant = meantKey(key)
    return meant === null ? [] : [`there is no "${oneLine(key)}": did you mean ${meant}?`]
  })
}

const NAMES: Readonly<Record<string, string>> = {
  object: 'a mapping, such as {exit_code: 0}',
  string: 'a text',
  int: 'a whole number',
  number: 'a number',
  array: 'a list',
}

/** Undefined if the message of zod is clear enough. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'is missing'
      return `must be ${NAMES[issue.expected] ?? issue.expected}`
    case 'too_small':
      return issue.origin === 'string' ? 'must not be empty' : `must be more than ${issue.minimum}`
    case 'unrecognized_keys': {
      const unknown = issue.keys.map((key) => JSON.stringify(key)).join(', ')
      const isCondition = ['success_condition', 'conditions'].includes(String(issue.path?.at(-1)))
      if (!isCondition) return `there is no ${unknown}`
      const known = Object.keys(SuccessCondition.shape).join(', ')
      return `there is no condition ${unknown}; there are ${known}`
    }
    default:
      return undefined
  }
}

function settingsIn(value: unknown): Result<ProjectSettings, string> {
  const settings = Settings.safeParse(value, { error: explain })
  const problems = [...misspelled(value), ...(settings.error ? [issuesText(settings.error)] : [])]
  return settings.success && problems.length === 0 ? ok(settings.data) : err(problems.join('; '))
}

/**
 * Reads the settings of a project; null if it has no such file. The error is for people, and names every problem.
 * @param isNeeded whether a file with this text matters. Otherwise it is not parsed, which may take long
 */
export function readProjectSettings(
  files: Workspace,
  isNeeded: (text: string) => boolean = () => true,
): ResultAsync<ProjectSettings | null, string> {
  const read = async (): Promise<Result<ProjectSettings | null, string>> => {
    // Most projects have none, and starting the program of the workspace takes longer than this look at a name.
    if (await isMissing(join(files.cwd, SETTINGS_FILE))) return ok(null)
    const text = await textOf(files, SETTINGS_FILE)
    if (text !== null && !isNeeded(text)) return ok(null)
    const asked = { path: SETTINGS_FILE, maxBytes: MAX_BYTES }
    const parsed = await files.ask('yaml', asked, { withinMs: PARSE_WITHIN_MS })
    if (parsed.isErr()) return whyNotRead(parsed.error.problem)
    const answer = parsed.value
    return 'problem' in answer ? err(oneLine(answer.problem)) : settingsIn(answer.value)
  }
  return new ResultAsync(read()).mapErr(
    (problem) => `${join(files.cwd, SETTINGS_FILE)}: ${problem}`,
  )
}

function whyNotRead(problem: WorkspaceProblem): Result<null, string> {
  if (problem.type === 'not_found') return ok(null)
  if (problem.type === 'unanswered' && problem.why === 'timed_out') return err(TOOK_TOO_LONG)
  if (problem.type === 'unanswered' && problem.why === 'lost') return err(OUTGROWN)
  return err(`it cannot be read: ${describeProblem(SETTINGS_FILE, problem)}`)
}

const isMissing = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => false,
    (cause) => codeOf(cause) === 'ENOENT',
  )
