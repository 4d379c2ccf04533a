import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Level } from '../../domain/isolation.ts'
import { removeControlGroup } from '../../runner/cgroup.ts'
import { chooseIsolation, type Isolation } from '../../runner/isolation/isolation.ts'
import { commandRunner } from '../../runner/run-command.ts'
import { Runner } from '../../runner/runner.ts'
import { chooseLimits } from '../command-limits.ts'
import type { Settings } from '../settings.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

/** What runs need of the machine: for which tool or goal, how to ask, and where to get it. */
const PROGRAMS: readonly (readonly [
  name: string,
  use: string,
  command: readonly [string, ...string[]],
  fix: string,
])[] = [
  ['bash', 'bash_exec and shell-goal', ['bash', '--version'], 'Install bash.'],
  ['git', 'the git tools', ['git', '--version'], 'Install git.'],
  [
    'pytest',
    'the goal pytest and run_pytest',
    ['python3', '-m', 'pytest', '--version'],
    'Install it in the projects, or with "python3 -m pip install pytest".',
  ],
  [
    'node',
    'the goals npm-test and bun-test',
    ['node', '--version'],
    'Install Node.js from https://nodejs.org.',
  ],
  ['npm', 'the goal npm-test', ['npm', '--version'], 'Install Node.js from https://nodejs.org.'],
  ['bun', 'the goal bun-test', ['bun', '--version'], 'Install it with "npm install --global bun".'],
  [
    'pyright',
    'the goal pyright',
    ['pyright', '--version'],
    'Install it in the projects, or with "npm install --global pyright".',
  ],
  ['cargo', 'the goal cargo-test', ['cargo', '--version'], 'Install it from https://rustup.rs.'],
  ['go', 'the goal go-test', ['go', 'version'], 'Install it from https://go.dev/dl.'],
  [
    'make',
    'the goal make-test',
    ['make', '--version'],
    'Install it with the package manager of the system.',
  ],
]
const WITHIN_MS = 20_000

/** Whether commands can be isolated and limited here, and the programs that they see. */
export async function examineCommands(settings: Settings): Promise<Finding[]> {
  const runner = new Runner({ info: () => {}, error: () => {} })
  const base = await realpath(await mkdtemp(join(tmpdir(), 'retrai-doctor-')))
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  await mkdir(dataDir)
  await mkdir(project)
  const isolation = await chooseIsolation(settings.RETRAI_ISOLATION, {
    ...{ runner, dataDir, env: process.env, toolPaths: settings.RETRAI_TOOL_PATHS ?? [] },
  })
  const { limits, detail } = await chooseLimits(settings, runner)
  try {
    const run = commandRunner(limits, runner, isolation)
    const { signal } = new AbortController()
    const programs = PROGRAMS.map(async ([name, use, [file, ...args], fix]): Promise<Finding> => {
      const result = await run({ file, args, cwd: project, timeoutMs: WITHIN_MS, signal })
      const [version = ''] = result.output.split('\n')
      if (result.exitCode === 0) return ok(name, `${version}, for ${use}.`)
      return warn(name, `Commands do not find it. It is needed for ${use}.`, fix)
    })
    const memory =
      limits.group === null
        ? warn('limits', detail, 'See docs/operations.md, "Limits of commands".')
        : ok('limits', detail)
    const found = [...(await aboutIsolation(isolation, settings.RETRAI_ISOLATION)), memory]
    return isolation.level === null ? found : [...found, ...(await Promise.all(programs))]
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
  const install = 'Install bubblewrap, for instance with "apt-get install bubblewrap".'
  if (level === null) return [fail(NAME, detail, install)]
  const found = `${level}: ${detail}`
  if (level === 'namespaces') return [ok(NAME, found)]
  const better = await isolation.atLeast('namespaces')
  if (better.isOk()) {
    const advice = `Set RETRAI_ISOLATION=auto instead of ${wanted}: the level namespaces works here.`
    return [warn(NAME, found, advice)]
  }
  return [warn(NAME, `${found} ${better.error}`, install)]
}
