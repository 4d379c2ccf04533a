import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chown, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { isMissing } from '../support/missing.ts'
import { isolated } from './support.ts'

/** bwrap needs about as long until its command begins. */
const MOMENTS_MS = [0, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12]

const has = (pid: number | string, text: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text)
  } catch {
    return false
  }
}

/** The processes that have a text in their arguments. */
const processesWith = (text: string): number[] =>
  readdirSync('/proc').flatMap((name) =>
    /^\d/.test(name) && has(name, text) ? [Number(name)] : [],
  )

async function place() {
  const server = await isolated()
  // So that a runner of root starts nothing but bwrap.
  if (process.getuid?.() === 0) await chown(server.project, 1500, 1500)
  return server
}

/** Waits as exactly as a process can. */
async function waited(ms: number): Promise<void> {
  const until = performance.now() + ms
  if (ms > 4) await pause(ms - 4)
  while (performance.now() < until);
}

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)

/** The next bwrap of a runner. */
async function nextBwrapOf(pid: number): Promise<number> {
  for (;;) {
    const child = childrenOf(pid).find((one) => has(one, 'bwrap'))
    if (child !== undefined) return child
    await new Promise(setImmediate)
  }
}

describe.skipIf(isMissing('bwrap'))('a container without its bwrap', { timeout: 120_000 }, () => {
  test('is ended whenever bwrap is killed, and it is known whether its command began', async () => {
    const { project, runner, bash } = await place()
    const ends: string[] = []
    const begun = join(project, 'begun')
    const untilBegun = () => expect.poll(() => existsSync(begun), { timeout: 60_000 }).toBe(true)
    for (const moment of [...MOMENTS_MS.map((ms) => () => waited(ms)), untilBegun]) {
      await rm(join(project, 'begun'), { force: true })
      const running = bash('touch begun; sleep 1000')
      const bwrap = await nextBwrapOf(runner.pid ?? 0)
      await moment()
      process.kill(bwrap, 'SIGKILL')
      const { end } = await running
      ends.push(end)
      expect(processesWith(project)).toEqual([])
      if (existsSync(begun)) expect(end).toBe('lost')
    }
    expect(new Set(ends)).toEqual(new Set(['not_started', 'lost']))
  })

  test('starts no command if its runner is gone, and ends a moment later', async () => {
    const { base, project, isolation } = await place()
    const prepared = await isolation.prepare({ cwd: project }, {})
    const [begun, go, later] = ['begun', 'go', 'later'].map((name) => join(project, name))
    const name = `the command in ${project}`
    const script = `: ${name}; touch begun; until [ -e go ]; do sleep 0.01; done; touch later`
    const request = {
      ...{ file: 'bash', args: ['-c', script], cwd: project, project },
      ...{ env: { PATH: process.env.PATH }, timeoutMs: 60_000, group: null },
      ...{ limits: DEFAULT_LIMITS, sandbox: prepared?.sandbox },
    }
    const module = fileURLToPath(new URL('../../src/runner/runner.ts', import.meta.url))
    const server = join(base, 'server.ts')
    await writeFile(
      server,
      `import { Runner } from ${JSON.stringify(module)}
       const runner = new Runner({ error: () => {} })
       runner.connect()
       process.stdin.on('data', (how) => {
         if (String(how) === 'early') runner.crash({ how: 'killed', moment: 'after spawn' })
         void runner.start(${JSON.stringify(request)})
       })
       console.log(runner.pid)`,
    )
    // At the first of these, the runner has not let the command begin.
    for (const moment of ['early', ...MOMENTS_MS.filter((_, n) => n % 4 === 3)] as const) {
      for (const path of [begun, go]) await rm(path ?? '', { force: true })
      const started = spawn(process.execPath, [server], { stdio: ['pipe', 'pipe', 'ignore'] })
      onTestFinished(() => void started.kill('SIGKILL'))
      const pid = Number((await once(started.stdout, 'data'))[0])
      started.stdin.write(String(moment))
      if (typeof moment === 'number') {
        await nextBwrapOf(pid)
        await waited(moment)
        process.kill(pid, 'SIGKILL')
      }
      await expect.poll(() => isDead(pid)).toBe(true)
      started.kill('SIGKILL')
      await once(started, 'exit')
      // A command that had begun ends with its runner. One that had not never begins, whenever it may.
      await expect.poll(() => processesWith(name)).toEqual([])
      if (moment === 'early') expect(existsSync(begun ?? '')).toBe(false)
      await writeFile(go ?? '', '')
    }
    await expect.poll(() => processesWith(project), { timeout: 20_000 }).toEqual([])
    expect(existsSync(later ?? '')).toBe(false)
  })
})

/** Whether a process has ended. Nobody may have asked for its exit code yet. */
function isDead(pid: number): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return true
  }
}
