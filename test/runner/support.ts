import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, vi } from 'vitest'
import type { Level } from '../../src/domain/isolation.ts'
import type { Command, CommandLimits } from '../../src/runner/command.ts'
import { commandRunner, DEFAULT_LIMITS, processStarter } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { chooseIsolation, NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import type { TrialOptions } from '../../src/sandbox/trial.ts'

/** Starts processes without isolation. */
export const startProcess = processStarter(
  DEFAULT_LIMITS,
  new Runner({ error: () => {} }),
  NO_ISOLATION,
)

/** A folder for the running test, without symbolic links in its path. */
export async function temporaryFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-test-')))
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** Writes files by their paths in a folder. */
export async function writeFiles(
  folder: string,
  files: Readonly<Record<string, string | Buffer>>,
): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content)
  }
}

type Options = {
  readonly base?: string
  readonly env?: TrialOptions['env']
  readonly limits?: Partial<CommandLimits>
  readonly toolPaths?: readonly string[]
  readonly log?: (facts: object) => void
}

/** A server that isolates commands, its data folder and a project. It ends with the test. */
export async function isolated(level: Level | 'auto' = 'namespaces', options: Options = {}) {
  const { env = process.env, toolPaths = [], log = () => {} } = options
  const base = options.base ?? (await temporaryFolder())
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  for (const path of [dataDir, project]) await mkdir(path, { recursive: true })
  const runner = new Runner({ error: log })
  onTestFinished(() => runner.close())
  const isolation = await chooseIsolation(level, {
    ...{ runner, dataDir, env, toolPaths },
  })
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const run = commandRunner(limits, runner, isolation)
  const start = processStarter(limits, runner, isolation)
  const bash = (script: string, how: Partial<Command> = {}) => {
    const { signal } = new AbortController()
    const args = ['-c', script]
    return run({ file: 'bash', args, cwd: project, timeoutMs: 60_000, signal, ...how })
  }
  return { base, dataDir, project, runner, isolation, run, start, bash }
}

/** Whether a process runs. A dead process that is not reaped yet does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  if (process.platform !== 'linux') return true
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** The process ids that the commands of a test have written, one per line. They are killed after the test. */
export async function pidsIn(file: string, count: number): Promise<number[]> {
  const pids = await vi.waitFor(
    async () => {
      const lines = (await readFile(file, 'utf8')).trim().split('\n')
      expect(lines).toHaveLength(count)
      return lines.map(Number)
    },
    { timeout: 20_000, interval: 20 },
  )
  onTestFinished(() => {
    for (const pid of pids.filter(isAlive)) process.kill(pid, 'SIGKILL')
  })
  return pids
}

export async function expectAllDead(pids: readonly number[]): Promise<void> {
  await vi.waitFor(() => expect(pids.filter(isAlive)).toEqual([]), {
    timeout: 20_000,
    interval: 20,
  })
}
