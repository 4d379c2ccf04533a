import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, vi } from 'vitest'
import { NO_ISOLATION } from '../../src/runner/isolation/isolation.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { processStarter } from '../../src/runner/start-process.ts'

/** Starts processes without isolation. */
export const startProcess = processStarter(
  DEFAULT_LIMITS,
  new Runner({ info: () => {}, error: () => {} }),
  NO_ISOLATION,
)

/** A folder for the running test, without symbolic links in its path. */
export async function temporaryFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-test-')))
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** Whether a process runs. A dead process that is not reaped yet does not. */
function isAlive(pid: number): boolean {
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
