import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { isRoot, USER } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'
import { childrenOf, commandLine, processesWith } from '../support/processes.ts'
import { expectAllDead, isolated, startText } from './support.ts'

/** bwrap needs about as long until its command begins. */
const MOMENTS_MS = [0, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12]

async function place() {
  const server = await isolated()
  // So that a runner of root starts nothing but bwrap.
  if (isRoot) await chown(server.project, USER, USER)
  return server
}

/** Waits as exactly as a process can. */
async function waited(ms: number): Promise<void> {
  const until = performance.now() + ms
  if (ms > 4) await pause(ms - 4)
  while (performance.now() < until);
}

/** The next bwrap of a runner. */
async function nextBwrapOf(pid: number): Promise<number> {
  for (;;) {
    const child = childrenOf(pid).find((one) => commandLine(one).includes('bwrap'))
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
    const { project, isolation } = await place()
    const prepared = await isolation.prepare({ cwd: project }, {})
    const [begun, go, later] = ['begun', 'go', 'later'].map((name) => join(project, name))
    const name = `the command in ${project}`
    const script = `: ${name}; touch begun; until [ -e go ]; do sleep 0.01; done; touch later`
    const request = {
      file: 'bash',
      args: ['-c', script],
      cwd: project,
      project,
      env: { PATH: process.env.PATH },
      timeoutMs: 60_000,
      group: null,
      limits: DEFAULT_LIMITS,
      sandbox: prepared?.sandbox,
    }
    const server = `import { Runner } from 'src/runner/runner.ts'
      const runner = new Runner({ error: () => {} })
      runner.connect()
      process.stdin.on('data', (how) => {
        if (String(how) === 'early') runner.crash({ how: 'killed', moment: 'after spawn' })
        void runner.start(${JSON.stringify(request)})
      })
      console.log(runner.pid)`
    // At the first of these, the runner has not let the command begin.
    for (const moment of ['early', ...MOMENTS_MS.filter((_, n) => n % 4 === 3)] as const) {
      for (const path of [begun, go]) await rm(path ?? '', { force: true })
      const started = startText('/', server)
      const pid = Number((await once(started.stdout, 'data'))[0])
      started.stdin.write(String(moment))
      if (typeof moment === 'number') {
        await nextBwrapOf(pid)
        await waited(moment)
        process.kill(pid, 'SIGKILL')
      }
      await expectAllDead([pid])
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
