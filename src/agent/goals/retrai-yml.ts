import { execFile } from 'node:child_process'
import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { ApprovalRules } from '../../domain/approvals/rules.ts'
import { allOf, goalFields } from '../../domain/requested-goal.ts'
import { ShellGoal, SuccessCondition } from '../../domain/run-config.ts'
import { issuesText } from '../../lib/issues-text.ts'
import { LruCache } from '../../lib/lru-cache.ts'
import { codeOf, messageOf } from '../../lib/message-of.ts'
import { siblingModule } from '../../lib/package-files.ts'
import { Semaphore } from '../../lib/semaphore.ts'
import { readConfined } from '../tools/confine.ts'
import { describeProblem } from '../tools/path-problem.ts'
import { oneLine } from './text.ts'

export const SETTINGS_FILE = '.retrai.yml'
/** Limit of the file, and of its content as JSON. */
const MAX_BYTES = 64 * 1024
/** Milliseconds are enough, but on a busy machine a process may need seconds to start. */
const PARSE_WITHIN_MS = 20_000
const TOOK_TOO_LONG = `parsing it took more than ${PARSE_WITHIN_MS / 1_000} s. Write only what the check needs, or try again when this machine is less busy`
const OUTGROWN = 'it is too deep or too large to be parsed as YAML. Write only what the check needs'
const PARSER = fileURLToPath(siblingModule('yaml-child', import.meta.url))

const execute = promisify(execFile)
/** Slow settings must not occupy the whole machine. */
const parsing = new Semaphore(2)

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

const Parsed = z.union([z.object({ problem: z.string() }), z.object({ value: z.unknown() })])

/** The last texts and their settings: the runs of a project read the same text, and each parse starts a process. */
const parsedTexts = new LruCache<Result<unknown, string>>(8)

/** Parses a YAML text in a process of its own, unless it was parsed recently. */
async function parseYaml(text: string): Promise<Result<unknown, string>> {
  const known = parsedTexts.get(text)
  if (known !== undefined) return known
  const release = await parsing.acquire(new AbortController().signal)
  try {
    const meanwhile = parsedTexts.get(text)
    if (meanwhile !== undefined) return meanwhile
    const child = execute(process.execPath, ['--max-old-space-size=64', PARSER], {
      env: {},
      timeout: PARSE_WITHIN_MS,
      killSignal: 'SIGKILL',
      maxBuffer: MAX_BYTES,
    })
    // If the child ends before it has read its input, it failed, and that is reported.
    child.child.stdin?.on('error', () => {}).end(text)
    const parsed = Parsed.parse(JSON.parse((await child).stdout))
    const result = 'problem' in parsed ? err(oneLine(parsed.problem)) : ok(parsed.value)
    parsedTexts.set(text, result)
    return result
  } catch (cause) {
    return err(whyNotParsed(cause))
  } finally {
    release?.()
  }
}

/** What ends Node if it has no more memory or stack. */
const NO_MEMORY: readonly unknown[] = ['SIGABRT', 'SIGTRAP', 'SIGSEGV', 134, 139]

/** Why the process that parses has failed, for people. */
export function whyNotParsed(cause: unknown): string {
  const { signal, code, stderr } = Failure.catch({}).parse(cause)
  if (signal === 'SIGKILL') return TOOK_TOO_LONG
  const isOutgrown = code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER'
  if (isOutgrown || NO_MEMORY.includes(signal ?? code)) return OUTGROWN
  const last = stderr?.trim().split('\n').at(-1) || messageOf(cause)
  return `the process that parses it failed, which is not the fault of the file: ${oneLine(last)}. Try again`
}

/** As Node reports that a process failed: it was not started, had too much output, was killed, or ended with a code. */
const Failure = z.object({
  code: z.union([z.string(), z.number()]).nullish(),
  signal: z.string().nullish(),
  stderr: z.string().optional(),
})

async function parseSettings(text: string): Promise<Result<ProjectSettings, string>> {
  const parsed = await parseYaml(text)
  return parsed.andThen((value) => {
    const settings = Settings.safeParse(value, { error: explain })
    const problems = [...misspelled(value), ...(settings.error ? [issuesText(settings.error)] : [])]
    return settings.success && problems.length === 0 ? ok(settings.data) : err(problems.join('; '))
  })
}

/**
 * Reads the settings of a project; null if it has no such file. The error is for people, and names every problem.
 * @param isNeeded whether a file with this text matters. Otherwise it is not parsed, which takes a process
 */
export function readProjectSettings(
  cwd: string,
  isNeeded: (text: string) => boolean = () => true,
): ResultAsync<ProjectSettings | null, string> {
  const read = async (): Promise<Result<ProjectSettings | null, string>> => {
    // Most projects have none, and opening it to find that out takes five times as long.
    if (await isMissing(join(cwd, SETTINGS_FILE))) return ok(null)
    const content = await readConfined({ cwd, dataDir: null }, SETTINGS_FILE, MAX_BYTES)
    if (content.isOk()) {
      const text = content.value.toString()
      return isNeeded(text) ? parseSettings(text) : ok(null)
    }
    if (content.error.type === 'not_found') return ok(null)
    return err(`it cannot be read: ${describeProblem(SETTINGS_FILE, content.error)}`)
  }
  return new ResultAsync(read()).mapErr((problem) => `${join(cwd, SETTINGS_FILE)}: ${problem}`)
}

const isMissing = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => false,
    (cause) => codeOf(cause) === 'ENOENT',
  )
