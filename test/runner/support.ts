import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, vi } from 'vitest'
import type { Level } from '../../src/domain/isolation.ts'
import type { Command } from '../../src/runner/command.ts'
import { sendSignal, statOf } from '../../src/runner/processes.ts'
import { DEFAULT_LIMITS, processStarter } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { isolatedServer, type ServerOptions } from '../support/isolated-server.ts'

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

type Options = ServerOptions & { readonly base?: string }

/** A server that isolates commands, its data folder and a project. It ends with the test. */
export async function isolated(level: Level | 'auto' = 'namespaces', options: Options = {}) {
  const base = options.base ?? (await temporaryFolder())
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  for (const path of [dataDir, project]) await mkdir(path, { recursive: true })
  const server = await isolatedServer(level, dataDir, options)
  onTestFinished(() => server.runner.close())
  const bash = (script: string, how: Partial<Command> = {}) => {
    const { signal } = new AbortController()
    const args = ['-c', script]
    return server.run({ file: 'bash', args, cwd: project, timeoutMs: 60_000, signal, ...how })
  }
  return { ...server, base, dataDir, project, bash }
}

const SOURCES = new URL('../../src/', import.meta.url)

/** Starts a program in a process of its own, which is killed after the test. What it imports from `src/` is that of this checkout. */
export function startText(cwd: string, text: string) {
  const args = ['--input-type=module', '-e', text.replaceAll("'src/", `'${SOURCES}`)]
  const started = spawn(process.execPath, args, { cwd, stdio: ['pipe', 'pipe', 'ignore'] })
  onTestFinished(() => void started.kill('SIGKILL'))
  return started
}

/** Whether a process runs. A dead process that is not reaped yet does not. */
export function isAlive(pid: number): boolean {
  if (process.platform !== 'linux') return sendSignal(pid, 0)
  const stat = statOf(pid)
  return stat !== null && !/[ZX]/.test(stat.state)
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
