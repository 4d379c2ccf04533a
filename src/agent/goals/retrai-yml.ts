import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { ShellGoal, SuccessCondition } from '../../domain/run-config.ts'
import { oneLine } from './text.ts'

const FILE = '.retrai.yml'

const { check_command, success_condition } = ShellGoal.unwrap().shape

/** Other keys at the top are settings of other tools and none of ours. */
const Settings = z
  .object({ check_command, success_condition: success_condition.default({ exit_code: 0 }) })
  .readonly()

const NAMES: Readonly<Record<string, string>> = {
  object: 'a mapping, such as {exit_code: 0}',
  string: 'a text',
  int: 'a whole number',
  number: 'a number',
}

/** Nothing for what says what is wrong by itself. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'is missing'
      return `must be ${NAMES[issue.expected] ?? issue.expected}`
    case 'too_small':
      return issue.origin === 'string' ? 'must not be empty' : `must be more than ${issue.minimum}`
    case 'unrecognized_keys': {
      const unknown = issue.keys.map((key) => JSON.stringify(key)).join(', ')
      const known = Object.keys(SuccessCondition.shape).join(', ')
      return `there is no condition ${unknown}; there are ${known}`
    }
    default:
      return undefined
  }
}

function problemsOf({ issues }: z.ZodError): string {
  return issues
    .map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '))
    .join('; ')
}

function parseSettings(text: string): Result<ShellGoal, string> {
  const document = parseDocument(text)
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ message }) => message.split('\n', 1)[0] ?? '')
    return err(`it is not valid YAML: ${problems.join('; ').replace(/:$/, '')}`)
  }
  try {
    const settings = Settings.safeParse(document.toJS() ?? {}, { error: explain })
    return settings.success ? ok(settings.data) : err(problemsOf(settings.error))
  } catch (cause) {
    // Aliases that unfold to more than the library puts up with.
    return err(oneLine(`${cause}`))
  }
}

function explainRead(cause: unknown): string {
  const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
  if (!missing) return `it cannot be read: ${oneLine(`${cause}`)}`
  return 'there is no such file. Write one with the check of the goal, such as "check_command: make check"'
}

/** What a shell-goal checks, from `.retrai.yml` in the project; the error names every problem. */
export function readShellGoal(cwd: string): ResultAsync<ShellGoal, string> {
  const path = join(cwd, FILE)
  return ResultAsync.fromPromise(readFile(path, 'utf8'), explainRead)
    .andThen(parseSettings)
    .mapErr((problem) => `${path}: ${problem}`)
}
