import { INSTRUCTIONS_GOAL } from '../domain/related-runs.ts'
import type { GoalPart, RunConfig } from '../domain/run-config.ts'
import type { Workspace } from '../workspace/workspace.ts'
import { checkWith } from './check-tool.ts'
import {
  ALL_OF,
  achieved,
  cannotCheck,
  FIT,
  type Goal,
  type GoalContext,
  type GoalVerdict,
  type Judged,
  mergeVerdicts,
  notAchieved,
  oneLine,
  SHELL_GOAL,
} from './goal.ts'
import { ownProgram, scriptOf, textOf, thereIs } from './project-files.ts'
import type { ToolCheck } from './run-check.ts'
import { describeShellGoal, shellGoal } from './shell-goal.ts'
import { goalOf, TOOL_GOALS, WITHOUT_NPM } from './tools.ts'

const REASON_CHARACTERS = 200

/** Done when the agent reports that it is done: for work that no command can check. */
const instructionsGoal: Goal = {
  name: INSTRUCTIONS_GOAL,
  description: 'The agent has done what its instructions ask for, by its own word',
  prompt:
    'Do what the instructions ask for. Nothing but your word is checked: when everything is done, reply without tool ' +
    'calls, and report exactly what the instructions ask you to report.',
  check: async ({ lastWords = null }) => {
    if (lastWords === null) return notAchieved('The agent has not said that it is done')
    const said = oneLine(lastWords, REASON_CHARACTERS)
    return achieved(`The agent says that it is done: ${said}`)
  },
}

/** The name of one of several goals, or its command if it has no name. */
function nameOf({ goal, shell_goal }: GoalPart): string {
  if (goal !== SHELL_GOAL || shell_goal === null) return goal
  return `\`${oneLine(shell_goal.check_command, 60)}\``
}

/**
 * Checks all goals, in their order, so that the agent sees every failure at once: an iteration costs more than a check.
 * Only a goal that cannot be checked ends the check early, because nothing that follows can change the verdict.
 */
async function checkAll(context: GoalContext): Promise<GoalVerdict> {
  const judged: Judged[] = []
  const { all_of = [], goal_options: _, ...config } = context.config
  for (const part of all_of) {
    const verdict = await findGoal(part.goal).check({ ...context, config: { ...config, ...part } })
    judged.push({ name: nameOf(part), ...verdict })
    if (verdict.verdict === 'cannot_check' || context.signal.aborted) break
  }
  return mergeVerdicts(judged)
}

/** The goal of a run that names several. */
const allOf: Goal = {
  name: ALL_OF,
  description: 'Several goals hold at the same time: those that the run names',
  prompt:
    'Reach all of the goals below, so that they hold at the same time. All are checked together; the verdict names each.',
  check: checkAll,
}

const RUFF = ['check', '--no-cache', '.']

type Linter = Pick<ToolCheck, 'tool' | 'programs' | 'missing' | 'lacks' | 'withoutNetwork'> & {
  /** What shows that the project uses it; null if nothing does. */
  readonly detect: (files: Workspace) => Promise<string | null>
}

/** One for each language. A project in several has the first that fits. */
const LINTERS: readonly Linter[] = [
  {
    tool: 'npm run lint',
    detect: async (files) => (await scriptOf(files, 'lint')) && 'package.json has a lint script',
    programs: () => [{ file: 'npm', args: ['run', 'lint'] }],
    missing: 'npm is not installed: install Node.js from https://nodejs.org',
    withoutNetwork: WITHOUT_NPM,
  },
  {
    tool: 'ruff check',
    detect: async (files) =>
      /^\[tool\.ruff/m.test((await textOf(files, 'pyproject.toml')) ?? '')
        ? 'pyproject.toml has settings of ruff'
        : thereIs(files, ['ruff.toml', '.ruff.toml']),
    programs: async (files) => [
      { file: (await ownProgram(files, 'ruff')) ?? 'ruff', args: RUFF },
      { file: 'python3', args: ['-m', 'ruff', ...RUFF] },
    ],
    lacks: /: No module named '?ruff'?\s*$/,
    missing: 'ruff is not installed: install it with `python3 -m pip install ruff`',
  },
  {
    tool: 'go vet',
    detect: (files) => thereIs(files, ['go.mod']),
    programs: () => [{ file: 'go', args: ['vet', './...'] }],
    missing: 'go is not installed: install it from https://go.dev/dl',
  },
  {
    tool: 'cargo clippy',
    detect: (files) => thereIs(files, ['Cargo.toml']),
    programs: () => [
      {
        file: 'cargo',
        args: ['clippy', '--all-targets', '--color=never', '--', '-D', 'warnings'],
      },
    ],
    lacks: /no such command: `clippy`|'cargo-clippy' is not installed/,
    missing: 'clippy is not installed: install it with `rustup component add clippy`',
  },
]

/** The linter of a project, and what shows that. */
async function linterOf(files: Workspace): Promise<(Linter & { because: string }) | null> {
  for (const linter of LINTERS) {
    const because = await linter.detect(files)
    if (because !== null) return { ...linter, because }
  }
  return null
}

const NO_LINTER =
  'No linter of this project is known: add a lint script to package.json or settings of ruff, or start a new run with the command in its check'
/** In place of the project's linter: the command of a run. */
const OWN_LINTER = { tool: 'the linter', programs: () => [], missing: '' }

async function checkLint(context: GoalContext): Promise<GoalVerdict> {
  const linter = context.config.shell_goal ? OWN_LINTER : await linterOf(context.files)
  if (linter === null) return cannotCheck(NO_LINTER)
  return checkWith(context, {
    ...linter,
    minutes: 20,
    env: { CI: 'true', NO_COLOR: '1' },
    noise: /^(?:npm (?:error|ERR!|warn|notice)\b|> )/,
  })
}

const lint: Goal = {
  name: 'lint',
  description: 'The linter of the project finds nothing',
  prompt:
    'Make the linter of this project find nothing. It is the lint script of package.json, ruff, go vet or cargo clippy, ' +
    'with the settings of the project. Fix the code: no comments that silence the linter, and no looser settings.',
  registries: ['npm', 'pypi', 'go', 'cargo'],
  takesCheck: true,
  protects: ['lint', 'ci'],
  command: 'npm run lint',
  detect: async (files) => {
    const linter = await linterOf(files)
    return linter && { fit: FIT.quality, because: `${linter.because} (${linter.tool})` }
  },
  check: checkLint,
}

/** All goals that a run may name. */
export const goals: readonly Goal[] = [
  ...TOOL_GOALS.map(goalOf),
  lint,
  shellGoal,
  allOf,
  instructionsGoal,
]

/** A goal by its name. Of one that only an earlier version had, runs are read, but it cannot be checked. */
export const findGoal = (name: string): Goal =>
  goals.find((goal) => goal.name === name) ?? {
    name,
    description: '',
    prompt: '',
    check: async () => cannotCheck(`This version has no goal ${name}: ${INSTEAD}`),
  }

/** What to do without a goal that there is not. */
export const INSTEAD =
  'name a check with a command that fails if the goal is not reached. docs/reference.md has commands for those of earlier versions'

/** The goals of a run in words, for the model. */
export function describeGoals(config: RunConfig): string {
  const inWords = ({ goal, shell_goal }: Pick<GoalPart, 'goal' | 'shell_goal'>): string => {
    const check = shell_goal === null ? '' : `\nThe check: ${describeShellGoal(shell_goal)}.`
    return `${findGoal(goal).prompt}${check}`
  }
  const parts = (config.all_of ?? []).map((part) => `\n## ${part.goal}\n${inWords(part)}`)
  return [inWords(config), ...parts].join('\n')
}
