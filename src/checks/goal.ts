import type { Preset } from '../domain/network.ts'
import type { RunConfig } from '../domain/run-config.ts'
import { stripTerminalCodes as strip } from '../domain/texts.ts'
import type { Verdict } from '../domain/verdict.ts'
import type { RunCommand } from '../runner/command.ts'
import type { Workspace } from '../workspace/workspace.ts'
import type { Ecosystem } from './protected.ts'

export type GoalVerdict = {
  /** `cannot_check`: there is nothing to check with, so no work of the agent is judged. */
  readonly verdict: Verdict
  /** One line that a person can act on: "All 42 tests passed", "3 of 42 tests failing: a, b, c". */
  readonly reason: string
  /** What the model needs to continue: messages of failures, the tail of the output. */
  readonly details: string
  /** How many tests were reported: passed, failed and skipped. */
  readonly tests?: number
  /** The names of all tests that passed or failed, if the report names them. */
  readonly names?: readonly string[]
}

export type GoalContext = {
  readonly config: RunConfig
  readonly signal: AbortSignal
  readonly runCommand: RunCommand
  /** The files of the project. */
  readonly files: Workspace
  /** What the agent said in its last reply, if it has ended its work with that; null if it has not. */
  readonly lastWords?: string | null
}

/** The goal that several goals hold at the same time. */
export const ALL_OF = 'all-of'
/** The goal that a command of the run or of the project succeeds. */
export const SHELL_GOAL = 'shell-goal'

/** How well a goal fits a project, and what shows it. The best fit is the highest. */
export type Fit = { readonly fit: number; readonly because: string }

export const FIT = {
  /** The project names the goal. */
  named: 5,
  /** The project names the check itself. */
  declared: 4,
  /** There are tests for it. */
  tests: 3,
  /** The project uses the language or tool. */
  language: 2,
  /** It says something about the code, not that it works. */
  quality: 1,
} as const

/** What a run may name as its goal. */
export type Goal = {
  readonly name: string
  readonly description: string
  /** The goal for the model, as a part of its system prompt. */
  readonly prompt: string
  /** The package registries that its tools use, which a run may allow as `preset:goal`. */
  readonly registries?: readonly Preset[]
  /** Whose tests and configuration decide what it finds; left out: none. */
  readonly protects?: readonly Ecosystem[]
  /** Its own command, if that may name files of the project. */
  readonly command?: string
  /** Whether a run may replace its command. */
  readonly takesCheck?: boolean
  /** Whether this goal seems to fit a project; null if not. Left out if no project shows that. */
  readonly detect?: (files: Workspace) => Promise<Fit | null>
  /** Checks the goal. Never rejects: a missing program is the verdict `cannot_check`. */
  readonly check: (context: GoalContext) => Promise<GoalVerdict>
}

const finding =
  (verdict: Verdict) =>
  (reason: string, details = ''): GoalVerdict => ({ verdict, reason, details })

export const achieved = finding('achieved')
export const notAchieved = finding('not_achieved')
/** If there is nothing to check the goal with: no program, no rule, no script. */
export const cannotCheck = finding('cannot_check')

/** The longest `details` of a verdict, in characters. */
export const DETAILS_LIMIT = 4096

/** One printable line: no colours, no line breaks, at most `limit` characters. */
export function oneLine(text: string, limit = 200): string {
  const line = strip(text.slice(0, 8 * limit))
    .replace(/\s+/g, ' ')
    .trim()
  return line.length <= limit ? line : `${line.slice(0, limit - 1).trimEnd()}…`
}

/** The end of a text, from the start of a line if possible. */
export function tail(text: string, limit = DETAILS_LIMIT): string {
  const end = strip(text.slice(-4 * limit)).trimEnd()
  const plain = text.length > 4 * limit ? end : end.replace(/^\s*\n/, '')
  if (plain.length <= limit) return plain
  const kept = plain.slice(-(limit - 2))
  return `…\n${kept.slice(kept.indexOf('\n') + 1)}`
}

/** Those of the parts that say something, with this between them. */
export const joined = (between: string, ...parts: readonly (string | false)[]): string =>
  parts.filter(Boolean).join(between)

const NAMES = 5

/** "a, b, c and 2 more": the first few names, and how many more there are of `total`. */
export function nameList(names: readonly string[], total = names.length): string {
  const shown = names.slice(0, NAMES).map((name) => oneLine(name, 120))
  const more = total - shown.length
  if (shown.length === 0) return ''
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ')
}

/** The last line with a word in it that `noise` does not match; '' without such a line. */
export function lastLine(output: string, noise: RegExp = /^$/): string {
  const lines = strip(output.slice(-16_384))
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /[\p{L}\p{N}]/u.test(line))
  return oneLine(lines.findLast((line) => !noise.test(line)) ?? lines.at(-1) ?? '')
}

/** The longest `details` of several goals together, in characters: the messages of each must be of use. */
const MERGED_LIMIT = 12_288

export type Judged = GoalVerdict & { readonly name: string }

const HEADS: Readonly<Record<GoalVerdict['verdict'], string>> = {
  achieved: 'reached',
  not_achieved: 'not reached',
  cannot_check: 'cannot be checked',
}

/**
 * One verdict for several goals. It is achieved if all of them are. If one cannot be checked, it cannot be checked. The
 * reason names each goal, failed ones first; the details are those of the goals that are not reached.
 */
export function mergeVerdicts(judged: readonly Judged[]): GoalVerdict {
  const [only] = judged
  if (only !== undefined && judged.length === 1) {
    const { name: _, ...verdict } = only
    return verdict
  }
  const isReached = ({ verdict }: Judged): boolean => verdict === 'achieved'
  const failed = judged.filter((part) => !isReached(part))
  const blocked = failed.some(({ verdict }) => verdict === 'cannot_check')
  const lines = [...failed, ...judged.filter(isReached)].map(
    ({ name, verdict, reason }) => `${name} ${HEADS[verdict]}: ${reason}`,
  )
  const room = Math.floor(MERGED_LIMIT / Math.max(1, failed.length))
  const shown = failed.length > 0 ? failed : judged
  const details = shown
    .filter((part) => part.details.trim() !== '')
    .map((part) => `=== ${part.name}\n${tail(part.details, room)}`)
    .join('\n\n')
  const known = judged.flatMap(({ tests }) => tests ?? [])
  const names = judged.flatMap((part) => part.names ?? [])
  return {
    verdict: failed.length === 0 ? 'achieved' : blocked ? 'cannot_check' : 'not_achieved',
    reason: `${judged.length - failed.length} of ${judged.length} reached. ${lines.join('. ')}`,
    details,
    ...(known.length > 0 && { tests: known.reduce((sum, tests) => sum + tests, 0) }),
    ...(names.length > 0 && { names }),
  }
}
