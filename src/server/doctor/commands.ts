import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Level } from '../../domain/isolation.ts'
import { removeControlGroup } from '../../runner/cgroup.ts'
import { adviceFor, type Isolation } from '../../runner/isolation/isolation.ts'
import { commandRunner } from '../../runner/run-command.ts'
import { Runner } from '../../runner/runner.ts'
import { chooseCommands } from '../commands.ts'
import type { Settings } from '../settings.ts'
import { type Finding, fail, note, ok, warn } from './finding.ts'

const WITHIN_MS = 20_000

/** Whether commands can be isolated and limited here, and the programs that they see. */
export async function examineCommands(settings: Settings): Promise<Finding[]> {
  const runner = new Runner({ info: () => {}, error: () => {} })
  const base = await realpath(await mkdtemp(join(tmpdir(), 'retrai-doctor-')))
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  await mkdir(dataDir)
  await mkdir(project)
  const chosen = await chooseCommands({ ...settings, RETRAI_DATA_DIR: dataDir }, runner)
  const { isolation } = chosen
  const { limits, detail } = chosen.limits
  try {
    const run = commandRunner(limits, runner, isolation)
    const { signal } = new AbortController()
    const version: AskVersion = async ([file, ...args]) => {
      const result = await run({ file, args, cwd: project, timeoutMs: WITHIN_MS, signal })
      return result.exitCode === 0 ? (result.output.split('\n', 1)[0] ?? '') : null
    }
    const memory =
      limits.group === null
        ? warn('limits', detail, 'See docs/operations.md, "Limits of commands".')
        : ok('limits', detail)
    const found = [...(await aboutIsolation(isolation, settings.RETRAI_ISOLATION)), memory]
    return isolation.level === null ? found : [...found, ...(await examinePrograms(version))]
  } finally {
    if (limits.group !== null) removeControlGroup(limits.group)
    runner.close()
    if (isolation.scratchDir !== null) await rm(dirname(isolation.scratchDir), { recursive: true })
    await rm(base, { recursive: true, force: true })
  }
}

const NAME = 'isolation'

async function aboutIsolation(isolation: Isolation, wanted: Level | 'auto'): Promise<Finding[]> {
  const { level, detail } = isolation
  if (level === null) return [fail(NAME, detail, `${adviceFor(detail)}.`)]
  const found = `${level}: ${detail}`
  if (level === 'namespaces') {
    const { ownUserProblem } = isolation
    const advice = 'Give projects to another user than root, or use util-linux 2.39 or newer.'
    return [ownUserProblem === null ? ok(NAME, found) : warn(NAME, found, advice)]
  }
  const better = await isolation.atLeast('namespaces')
  if (better.isOk()) {
    const advice = `Set RETRAI_ISOLATION=auto instead of ${wanted}: the level namespaces works here.`
    return [warn(NAME, found, advice)]
  }
  return [warn(NAME, `${found} ${better.error}`, `${adviceFor(better.error)}.`)]
}

type Ask = readonly [string, ...string[]]

/** The first line that a command prints about its version; null if commands do not find it. */
type AskVersion = (command: Ask) => Promise<string | null>

type Program = {
  readonly name: string
  /** The tools and goals that need it. */
  readonly use: string
  readonly ask: Ask
  /** How to install it. */
  readonly fix: string
  /** Whether agents lack something in every project without it. */
  readonly isNeeded?: true
}

const NODE = 'Install Node.js from https://nodejs.org.'
const SYSTEM = 'Install it with the package manager of the system.'
const GO = 'Install it from https://go.dev/dl.'

/** A project may have it: then it need not be installed for all projects. */
const npm = (name: string, use: string, packages: string = name): Program => {
  const fix = `Install it in the projects that use it, with "npm install --save-dev ${packages}".`
  return { name, use, ask: [name, '--version'], fix }
}
const python = (name: string, use: string, packages: string = name): Program => {
  const fix = `Install it in the projects that use it, or with "python3 -m pip install ${packages}".`
  return { name, use, ask: ['python3', '-m', name, '--version'], fix }
}

/** What the tools and goals need of the machine. */
const PROGRAMS: readonly Program[] = [
  {
    ...{ name: 'bash', use: 'bash_exec, shell-goal, and the commands of checks', fix: SYSTEM },
    ...{ ask: ['bash', '--version'], isNeeded: true },
  },
  { name: 'git', use: 'the git tools', ask: ['git', '--version'], fix: SYSTEM, isNeeded: true },
  { name: 'curl', use: 'api-test', ask: ['curl', '--version'], fix: SYSTEM },
  { name: 'make', use: 'make-test', ask: ['make', '--version'], fix: SYSTEM },
  { name: 'node', use: 'npm-test', ask: ['node', '--version'], fix: NODE },
  {
    name: 'npm',
    use: 'npm-test and the lint scripts of lint',
    ask: ['npm', '--version'],
    fix: NODE,
  },
  {
    ...{ name: 'bun', use: 'bun-test', ask: ['bun', '--version'] },
    fix: 'Install it with "npm install --global bun".',
  },
  npm('biome', 'lint', '@biomejs/biome'),
  npm('eslint', 'lint'),
  npm('c8', 'coverage of Node.js projects'),
  python('pytest', 'pytest and run_pytest'),
  npm('pyright', 'pyright'),
  python('ruff', 'lint'),
  python('flake8', 'lint'),
  python('coverage', 'coverage of Python projects', 'coverage pytest-cov'),
  {
    ...{ name: 'cargo', use: 'cargo-test', ask: ['cargo', '--version'] },
    fix: 'Install it from https://rustup.rs.',
  },
  {
    ...{ name: 'clippy', use: 'lint', ask: ['cargo', 'clippy', '--version'] },
    fix: 'Install it with "rustup component add clippy".',
  },
  {
    ...{ name: 'cargo-llvm-cov', use: 'coverage of Rust projects' },
    ask: ['cargo', 'llvm-cov', '--version'],
    fix: 'Install it with "cargo install cargo-llvm-cov".',
  },
  { name: 'go', use: 'go-test, go vet of lint, and coverage', ask: ['go', 'version'], fix: GO },
  {
    ...{ name: 'golangci-lint', use: 'lint', ask: ['golangci-lint', '--version'] },
    fix: 'Install it from https://golangci-lint.run.',
  },
]

/** Which programs commands find. For the others, what needs them and how to install them. */
function examinePrograms(version: AskVersion): Promise<Finding[]> {
  return Promise.all(
    PROGRAMS.map(async ({ name, use, ask, fix, isNeeded = false }) => {
      const found = await version(ask)
      if (found !== null) return ok(name, `${found}, for ${use}.`)
      const missing = isNeeded ? warn : note
      return missing(name, `Commands do not find it. It is needed for ${use}.`, fix)
    }),
  )
}
