import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chown, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { chooseIsolation } from '../../src/runner/isolation/isolation.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { isMissing } from '../support/missing.ts'
import { temporaryFolder } from './support.ts'

/** bwrap needs about as long until its command begins. */
const MOMENTS_MS = [0, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12]

/** The processes that have a text in their arguments. */
const processesWith = (text: string): number[] =>
  readdirSync('/proc').flatMap((name) => {
    try {
      const found = /^\d/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text)
      return found ? [Number(name)] : []
    } catch {
      return []
    }
  })

async function place() {
  const base = await temporaryFolder()
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  await mkdir(dataDir)
  await mkdir(project)
  // So that a runner of root starts nothing but bwrap.
  if (process.getuid?.() === 0) await chown(project, 1500, 1500)
  const runner = new Runner({ info: () => {}, error: () => {} })
  onTestFinished(() => runner.close())
  const isolation = await chooseIsolation('namespaces', {
    ...{ runner, dataDir, env: process.env, toolPaths: [] },
  })
  return { base, project, runner, isolation }
}

/** Waits as exactly as a process can. */
async function waited(ms: number): Promise<void> {
  const until = performance.now() + ms
  if (ms > 4) await pause(ms - 4)
  while (performance.now() < until);
}

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)

/** The next bwrap of a runner: it was forked, and may not be bwrap yet. */
async function nextChildOf(pid: number, before: readonly number[]): Promise<number> {
  for (;;) {
    const child = childrenOf(pid).find((one) => !before.includes(one))
    if (child !== undefined) return child
    await new Promise(setImmediate)
  }
}

describe.skipIf(isMissing('bwrap'))('a container without its bwrap', { timeout: 120_000 }, () => {
  test('is ended whenever bwrap is killed, and it is known whether its command began', async () => {
    const { project, runner, isolation } = await place()
    const run = commandRunner(DEFAULT_LIMITS, runner, isolation)
    const ends: string[] = []
    const begun = join(project, 'begun')
    const untilBegun = () => expect.poll(() => existsSync(begun), { timeout: 60_000 }).toBe(true)
    for (const moment of [...MOMENTS_MS.map((ms) => () => waited(ms)), untilBegun]) {
      await rm(join(project, 'begun'), { force: true })
      const before = childrenOf(runner.pid ?? 0)
      const running = run({
        ...{ file: 'bash', args: ['-c', 'touch begun; sleep 1000'], cwd: project },
        ...{ timeoutMs: 60_000, signal: new AbortController().signal },
      })
      const bwrap = await nextChildOf(runner.pid ?? 0, before)
      await moment()
      process.kill(bwrap, 'SIGKILL')
      const { end } = await running
      ends.push(end)
      expect(processesWith(project)).toEqual([])
      if (existsSync(begun)) expect(end).toBe('lost')
    }
    expect(new Set(ends)).toEqual(new Set(['not_started', 'lost']))
  })

  test('starts no command if its runner is gone, and the next runner ends it', async () => {
    const { base, project, isolation } = await place()
    const sandbox = await isolation.prepare({ file: '', args: [], cwd: project, signal: never }, {})
    const request = {
      ...{
        file: 'bash',
        args: ['-c', 'touch begun; sleep 0.2; touch later; sleep 1000'],
        cwd: project,
        project,
      },
      ...{ env: { PATH: process.env.PATH }, timeoutMs: 60_000, keptBytes: 0, group: null },
      ...{ limits: DEFAULT_LIMITS, sandbox: sandbox?.sandbox },
    }
    const module = fileURLToPath(new URL('../../src/runner/runner.ts', import.meta.url))
    const server = join(base, 'server.ts')
    await writeFile(
      server,
      `import { Runner } from ${JSON.stringify(module)}
       const runner = new Runner({ info: () => {}, error: () => {} })
       runner.connect()
       process.stdin.on('data', () => void runner.start(${JSON.stringify(request)}))
       console.log(runner.pid)`,
    )
    const died: boolean[] = []
    for (const ms of MOMENTS_MS.filter((_, n) => n % 3 === 0)) {
      await rm(join(project, 'begun'), { force: true })
      const started = spawn(process.execPath, [server], { stdio: ['pipe', 'pipe', 'ignore'] })
      onTestFinished(() => void started.kill('SIGKILL'))
      const [line] = await once(started.stdout, 'data')
      started.stdin.write('\n')
      await nextChildOf(Number(line), [])
      await waited(ms)
      const isBegun = existsSync(join(project, 'begun'))
      process.kill(Number(line), 'SIGKILL')
      started.kill('SIGKILL')
      await once(started, 'exit')
      died.push(isBegun)
    }
    const next = new Runner({ info: () => {}, error: () => {} })
    onTestFinished(() => next.close())
    next.connect()
    await expect.poll(() => processesWith(project), { timeout: 20_000 }).toEqual([])
    expect(existsSync(join(project, 'later'))).toBe(false)
    expect(died).toContain(false)
  })
})

const { signal: never } = new AbortController()
