import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Level } from '../../domain/isolation.ts'
import { removeControlGroup } from '../../runner/cgroup.ts'
import { adviceFor, chooseIsolation, type Isolation } from '../../runner/isolation/isolation.ts'
import { commandRunner } from '../../runner/run-command.ts'
import { Runner } from '../../runner/runner.ts'
import { chooseLimits } from '../command-limits.ts'
import type { Settings } from '../settings.ts'
import { type Finding, fail, ok, warn } from './finding.ts'
import { type AskVersion, examinePrograms } from './programs.ts'

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
  if (level === 'seatbelt')
    return [warn(NAME, found, 'For what docs/security.md promises, run it on Linux.')]
  const better = await isolation.atLeast('namespaces')
  if (better.isOk()) {
    const advice = `Set RETRAI_ISOLATION=auto instead of ${wanted}: the level namespaces works here.`
    return [warn(NAME, found, advice)]
  }
  return [warn(NAME, `${found} ${better.error}`, `${adviceFor(better.error)}.`)]
}
