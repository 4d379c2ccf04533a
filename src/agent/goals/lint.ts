import { join } from 'node:path'
import { present } from '../../domain/present.ts'
import type { Workspace } from '../../workspace/workspace.ts'
import { mergeVerdicts } from './all-of.ts'
import { FIT, type Fit, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { firstOf, scriptOf, textOf } from './project-files.ts'
import {
  BUILD_CHECK_MS,
  cannotCheck,
  type Exited,
  endedWith,
  type Program,
  runCheck,
} from './run-check.ts'
import { scriptLacksProgram } from './shell-goal.ts'
import { DETAILS_LIMIT, headAndTail } from './text.ts'
import { whatFailed } from './what-failed.ts'

type Linter = {
  /** The command as people know it. */
  readonly tool: string
  /** What shows that the project uses it; null if nothing does. */
  readonly detect: (files: Workspace) => Promise<string | null>
  /** The ways to run it, best first. */
  readonly programs: (files: Workspace) => Promise<readonly [Program, ...Program[]]>
  readonly missing: string
  readonly isMissing?: (ended: Exited) => boolean
}

/** A program of the project itself, or else of the system. */
const local =
  (folders: readonly string[], name: string, args: readonly string[]) =>
  async (files: Workspace): Promise<[Program]> => {
    const own = await firstOf(
      files,
      folders.map((folder) => join(folder, name)),
    )
    return [{ file: own === null ? name : join(files.cwd, own), args }]
  }

const NODE = ['node_modules/.bin']
const PYTHON = ['.venv/bin', 'venv/bin']

const ESLINT_CONFIGS = [
  ...['js', 'mjs', 'cjs', 'ts', 'mts', 'cts'].map((ending) => `eslint.config.${ending}`),
  ...['.js', '.cjs', '.json', '.yml', '.yaml', ''].map((ending) => `.eslintrc${ending}`),
]

const hasSection = async (files: Workspace, file: string, section: string): Promise<boolean> => {
  const lines = (await textOf(files, file))?.split('\n') ?? []
  return lines.some((line) => line.startsWith(`[${section}`))
}

const LINTERS: readonly Linter[] = [
  {
    tool: 'npm run lint',
    detect: async (files) => (await scriptOf(files, 'lint')) && 'package.json has a lint script',
    programs: async () => [{ file: 'npm', args: ['run', 'lint'] }],
    missing: 'npm is not installed: install Node.js from https://nodejs.org',
  },
  {
    tool: 'biome lint',
    detect: (files) => aFile(files, ['biome.json', 'biome.jsonc']),
    programs: local(NODE, 'biome', ['lint', '--colors=off', '.']),
    missing: 'biome is not installed: install it with `npm install --save-dev @biomejs/biome`',
  },
  {
    tool: 'eslint',
    detect: (files) => aFile(files, ESLINT_CONFIGS),
    programs: local(NODE, 'eslint', ['--no-color', '.']),
    missing: 'eslint is not installed: install it with `npm install --save-dev eslint`',
  },
  {
    tool: 'ruff check',
    detect: async (files) =>
      (await hasSection(files, 'pyproject.toml', 'tool.ruff'))
        ? 'pyproject.toml has settings of ruff'
        : aFile(files, ['ruff.toml', '.ruff.toml']),
    programs: async (files) => [
      ...(await local(PYTHON, 'ruff', ['check', '--no-cache', '.'])(files)),
      { file: 'python3', args: ['-m', 'ruff', 'check', '--no-cache', '.'] },
    ],
    isMissing: ({ exitCode, stderr }) =>
      exitCode === 1 && /: No module named '?ruff'?\s*$/.test(stderr),
    missing: 'ruff is not installed: install it with `python3 -m pip install ruff`',
  },
  {
    tool: 'flake8',
    detect: async (files) =>
      (await hasSection(files, 'setup.cfg', 'flake8'))
        ? 'setup.cfg has settings of flake8'
        : aFile(files, ['.flake8']),
    programs: local(PYTHON, 'flake8', []),
    missing: 'flake8 is not installed: install it with `python3 -m pip install flake8`',
  },
  {
    tool: 'golangci-lint run',
    detect: (files) =>
      aFile(
        files,
        ['yml', 'yaml', 'toml', 'json'].map((end) => `.golangci.${end}`),
      ),
    programs: async () => [{ file: 'golangci-lint', args: ['run'] }],
    missing: 'golangci-lint is not installed: install it from https://golangci-lint.run',
  },
  {
    tool: 'go vet',
    detect: (files) => aFile(files, ['go.mod']),
    programs: async () => [{ file: 'go', args: ['vet', './...'] }],
    missing: 'go is not installed: install it from https://go.dev/dl',
  },
  {
    tool: 'cargo clippy',
    detect: (files) => aFile(files, ['Cargo.toml']),
    programs: async () => [
      {
        file: 'cargo',
        args: ['clippy', '--all-targets', '--color=never', '--', '-D', 'warnings'],
      },
    ],
    isMissing: ({ exitCode, stderr }) =>
      exitCode !== 0 && /no such command: `clippy`|'cargo-clippy' is not installed/.test(stderr),
    missing: 'clippy is not installed: install it with `rustup component add clippy`',
  },
]

/** If several tools of a language fit, the first of them is used. */
const LANGUAGES = [
  ['npm run lint', 'biome lint', 'eslint'],
  ['ruff check', 'flake8'],
  ['golangci-lint run', 'go vet'],
  ['cargo clippy'],
]

const aFile = async (files: Workspace, names: readonly string[]): Promise<string | null> => {
  const found = await firstOf(files, names)
  return found === null ? null : `there is a ${found}`
}

/** The linters of a project: one for each of its languages. */
async function lintersOf(files: Workspace): Promise<readonly (Linter & { because: string })[]> {
  const found = await Promise.all(
    LANGUAGES.map(async (tools) => {
      for (const linter of LINTERS.filter(({ tool }) => tools.includes(tool))) {
        const because = await linter.detect(files)
        if (because !== null) return [{ ...linter, because }]
      }
      return []
    }),
  )
  return found.flat()
}

async function detect(files: Workspace): Promise<Fit | null> {
  const linters = await lintersOf(files)
  if (linters.length === 0) return null
  const because = linters.map((linter) => `${linter.because} (${linter.tool})`).join(', ')
  return { fit: FIT.quality, because }
}

async function checkWith(context: GoalContext, linter: Linter): Promise<GoalVerdict> {
  const { tool, missing, isMissing } = linter
  const ran = await runCheck(context, {
    ...{ tool, missing, programs: await linter.programs(context.files) },
    ...present({ isMissing }),
    timeoutMs: BUILD_CHECK_MS,
    env: { CI: 'true', NO_COLOR: '1' },
  })
  if (ran.isErr()) return ran.error
  const lacking = scriptLacksProgram(context.config, tool, ran.value)
  if (lacking !== null) return lacking
  const { exitCode, output } = ran.value
  const details = headAndTail(output, DETAILS_LIMIT)
  if (exitCode === 0) return { verdict: 'achieved', reason: `${tool} found nothing`, details }
  const why = whatFailed(output, /^(?:npm (?:error|ERR!|warn|notice)\b|> )/)
  const reason = `${tool} ${endedWith(exitCode)}${why === '' ? '' : `: ${why}`}`
  return { verdict: 'not_achieved', reason, details }
}

/** The command of a run instead of the project's linters. */
const ownLinter = (tool: string): Linter => ({
  ...{ tool, missing: '', detect: async () => null },
  programs: async () => [{ file: 'bash', args: [] }],
})

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { files, config } = context
  const { shell_goal } = config
  if (shell_goal !== null) return checkWith(context, ownLinter('the linter'))
  const linters = await lintersOf(files)
  if (linters.length === 0) {
    const reason =
      'No linter of this project is known: add a lint script to package.json, settings of biome, eslint, ruff or flake8, or start a new run with the command in its check'
    return cannotCheck(reason)
  }
  const judged: (GoalVerdict & { name: string })[] = []
  for (const linter of linters) {
    judged.push({ name: linter.tool, ...(await checkWith(context, linter)) })
  }
  return mergeVerdicts(judged)
}

export const lint: Goal = {
  name: 'lint',
  description: 'The linter of the project finds nothing',
  prompt:
    'Make the linter of this project find nothing. It is the lint script of package.json, biome, eslint, ruff, flake8, ' +
    'golangci-lint, go vet or cargo clippy, with the settings of the project. Fix the code: no comments that silence the ' +
    'linter, and no looser settings.',
  registries: ['npm', 'pypi', 'go', 'cargo'],
  takes: { check: 'optional' },
  detect,
  check,
}
