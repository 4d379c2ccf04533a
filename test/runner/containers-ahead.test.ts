import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import {
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Notice } from '../../src/domain/records.ts'
import type { Command } from '../../src/runner/command.ts'
import { ContainersAhead } from '../../src/runner/containers-ahead.ts'
import type { Container } from '../../src/runner/isolation/bubblewrap.ts'
import { chooseIsolation } from '../../src/runner/isolation/isolation.ts'
import type { Sandbox } from '../../src/runner/isolation/sandbox.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { isMissing } from '../support/missing.ts'
import { expectAllDead, temporaryFolder } from './support.ts'

describe('containers that wait', () => {
  let homes = ''
  beforeEach(async () => {
    homes = await temporaryFolder()
  })
  afterEach(() => vi.useRealTimers())

  const ready = { scratch: null, writable: [], readable: [], network: 'none', hasNetwork: false }
  const run = (name: string, more: object = {}) =>
    ({ own: { home: `${homes}/${name}`, kept: true }, ...ready, ...more }) as unknown as Sandbox

  /** Those that wait, for runs that have not ended. */
  function waitingFor(...names: string[]) {
    const ahead = new ContainersAhead()
    for (const name of names) {
      mkdirSync(join(homes, name), { recursive: true })
      expect(ahead.expect(run(name))).toBe(true)
    }
    return ahead
  }

  /** A container that mounts this file. */
  function containerOf(file: string, ...command: string[]) {
    const files = [openSync(file, 'r')]
    onTestFinished(() => files.forEach((one) => void closeSync(one)))
    const made = { command, variables: '', files } as unknown as Container
    const { promise: exit, resolve: end } = Promise.withResolvers<void>()
    return { made, lives: true, exit, end, discard: vi.fn() }
  }

  test('are given to one command, which would get the same', () => {
    const ahead = waitingFor('a')
    const container = containerOf('/etc/passwd', 'bwrap')
    ahead.keep(run('a'), container)
    const same = containerOf('/etc/passwd', 'bwrap').made
    expect(ahead.take(run('b'), same)).toBeNull()
    expect(ahead.take(run('a'), same)).toBe(container)
    expect(ahead.take(run('a'), same)).toBeNull()
    expect(container.discard).not.toHaveBeenCalled()
  })

  test.each([
    ['other arguments', () => containerOf('/etc/passwd', 'bwrap', '--bind').made],
    ['another file', () => containerOf('/etc/hostname', 'bwrap').made],
  ])('are ended if the next command would get %s', (_, wanted) => {
    const ahead = waitingFor('a')
    const container = containerOf('/etc/passwd', 'bwrap')
    ahead.keep(run('a'), container)
    expect(ahead.take(run('a'), wanted())).toBeNull()
    expect(container.discard).toHaveBeenCalledOnce()
    expect(ahead.has(run('a'))).toBe(false)
  })

  test('are ended if no command comes', () => {
    vi.useFakeTimers()
    const ahead = waitingFor('a')
    const container = containerOf('/etc/passwd', 'bwrap')
    ahead.keep(run('a'), container)
    vi.advanceTimersByTime(59_000)
    expect(ahead.has(run('a'))).toBe(true)
    vi.advanceTimersByTime(2_000)
    expect(ahead.has(run('a'))).toBe(false)
    expect(container.discard).toHaveBeenCalledOnce()
  })

  test('are forgotten when they end', async () => {
    const ahead = waitingFor('a')
    const container = containerOf('/etc/passwd', 'bwrap')
    ahead.keep(run('a'), container)
    container.end()
    await container.exit
    expect(ahead.has(run('a'))).toBe(false)
  })

  test('are ended if their run ends while they are made', () => {
    const ahead = waitingFor('a')
    expect(ahead.expects(run('a'))).toBe(true)
    ahead.discard(run('a').own?.home ?? '')
    expect(ahead.expects(run('a'))).toBe(false)
    const container = containerOf('/etc/passwd', 'bwrap')
    ahead.keep(run('a'), container)
    expect(container.discard).toHaveBeenCalledOnce()
    expect(ahead.has(run('a'))).toBe(false)
  })

  test('are made for a bounded number of runs, one for each, and only for what any command of a run may use', () => {
    const names = Array.from({ length: 16 }, (_, index) => `${index}`)
    for (const name of [...names, 'another']) mkdirSync(join(homes, name))
    const ahead = new ContainersAhead()
    const may = (name: string, more: object = {}) => ahead.expect(run(name, more))
    expect(may('ended')).toBe(false)
    for (const more of [{ scratch: '/x' }, { writable: ['/x'] }, { readable: ['/x'] }])
      expect(may('0', more)).toBe(false)
    for (const more of [{ network: 'full' }, { hasNetwork: true }, { own: null }])
      expect(may('0', more)).toBe(false)
    for (const name of names) {
      expect(may(name)).toBe(true)
      expect(may(name)).toBe(false)
    }
    expect(may('another')).toBe(false)
    ahead.keep(run('0'), containerOf('/etc/passwd', 'bwrap'))
    expect(may('0')).toBe(false)
    expect(may('another')).toBe(false)
    ahead.keep(run('1'), null)
    expect(may('another')).toBe(true)
  })
})

/** The processes that a process has started, with their names. */
async function childrenOf(pid: number): Promise<{ pid: number; name: string }[]> {
  const listed = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  const children = listed.split(' ').filter(Boolean).map(Number)
  const nameOf = (child: number) => readFile(`/proc/${child}/comm`, 'utf8').catch(() => '')
  return Promise.all(children.map(async (pid) => ({ pid, name: (await nameOf(pid)).trim() })))
}

/** The containers that a runner has made, by the ids of their bwraps. */
async function bwrapsOf({ pid }: Runner): Promise<number[]> {
  const children = await childrenOf(pid ?? 0)
  return children.flatMap(({ pid, name }) => (name === 'bwrap' ? [pid] : []))
}

/** The shell that waits in a container; undefined while the container is being made. */
async function shellIn(bwrap: number): Promise<number | undefined> {
  const inside = await childrenOf(bwrap)
  const all = [...inside, ...(await Promise.all(inside.map(({ pid }) => childrenOf(pid)))).flat()]
  return all.find(({ name }) => name === 'sh')?.pid
}

/** @param env of the server, which finds its programs */
async function runOf(env = process.env) {
  const base = await temporaryFolder()
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  for (const path of [dataDir, project]) await mkdir(path)
  const runner = new Runner({ info: () => {}, error: () => {} })
  onTestFinished(() => runner.close())
  const toolPaths: string[] = []
  const isolation = await chooseIsolation('namespaces', {
    ...{ runner, dataDir, env, toolPaths },
  })
  const run = commandRunner(DEFAULT_LIMITS, runner, isolation)
  const bash = (script: string, options: Partial<Command> = {}) => {
    const { signal } = new AbortController()
    const how = { cwd: project, project, run: 'run', timeoutMs: 60_000, signal, ...options }
    return run({ file: 'bash', args: ['-c', script], ...how })
  }
  /** Runs a command, and waits until the container of the next one waits. */
  const waiting = async (script: string): Promise<number> => {
    expect(await bash(script)).toMatchObject({ end: 'exited', exitCode: 0 })
    const found = async () => {
      const [pid = 0, ...others] = await bwrapsOf(runner)
      expect(await shellIn(pid)).toBeDefined()
      expect(others).toEqual([])
      return pid
    }
    return vi.waitFor(found, { timeout: 20_000, interval: 10 })
  }
  return { project, runner, isolation, bash, waiting }
}

describe.skipIf(isMissing('bwrap'))('the next command of a run', () => {
  test('gets the container that waits, in which nothing is left of the last one', async () => {
    const { project, runner, bash, waiting } = await runOf()
    const pid = await waiting('touch /dev/shm/left /var/tmp/left ~/kept; (sleep 500 &)')
    await writeFile(join(project, 'new'), 'new\n')
    const abort = new AbortController()
    const script = 'cat new; ls ~ /dev/shm /var/tmp; pgrep -c sleep; cd /tmp; exec sleep 500'
    const { promise: isAtWork, resolve: onOutput } = Promise.withResolvers<string>()
    const next = bash(script, { signal: abort.signal, onOutput })
    await isAtWork
    // Another one is perhaps being made for the command after it.
    expect((await bwrapsOf(runner))[0]).toBe(pid)
    abort.abort()
    expect(await next).toMatchObject({ end: 'aborted' })
    const { output } = await bash('cat new; ls ~ /dev/shm /var/tmp')
    expect(output).toBe('new\n/dev/shm:\n\n/home/agent:\nkept\n\n/var/tmp:\n')
    await expectAllDead([pid])
  })

  const hooks = '.git/hooks'
  test.each([
    {
      change: 'a guarded folder is replaced',
      first: `git init -q`,
      meanwhile: async (project: string) => {
        await rm(join(project, hooks), { recursive: true })
        await mkdir(join(project, hooks))
      },
    },
    {
      change: 'a repository is replaced',
      first: 'git init -q',
      meanwhile: async (project: string) => {
        await rename(join(project, '.git'), join(project, 'old'))
        await mkdir(join(project, hooks), { recursive: true })
      },
    },
    {
      change: 'a guarded folder appears',
      first: 'true',
      meanwhile: async (project: string) => {
        await mkdir(join(project, hooks), { recursive: true })
      },
    },
  ])('cannot write what is guarded if $change', async ({ first, meanwhile }) => {
    const { project, bash, waiting } = await runOf()
    const pid = await waiting(first)
    await meanwhile(project)
    expect(await bash(`touch ${hooks}/evil`)).toMatchObject({
      exitCode: 1,
      output: expect.stringMatching(/Read-only file system/),
    })
    await expectAllDead([pid])
  })

  test('sees the project that is there now, and has the variables of its own call', async () => {
    const { project, bash, waiting } = await runOf()
    const first = await waiting('touch old')
    await rename(project, `${project}-old`)
    await mkdir(project)
    await writeFile(join(project, 'new'), '')
    expect((await bash('ls')).output).toBe('new\n')
    await expectAllDead([first])
    const second = await waiting('true')
    expect((await bash('echo $GREETING', { env: { GREETING: 'hello' } })).output).toBe('hello\n')
    await expectAllDead([second])
  })

  test('works if the container that waits was killed', async () => {
    const { runner, bash, waiting } = await runOf()
    process.kill(await waiting('true'), 'SIGKILL')
    await vi.waitFor(async () => expect(await bwrapsOf(runner)).toEqual([]))
    expect(await bash('echo works')).toMatchObject({ exitCode: 0, output: 'works\n' })
  })
})

/** What a process has open, by the paths. */
async function openIn({ pid }: Runner): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  const paths = (await readdir(folder)).map((name) => readlink(join(folder, name)).catch(() => ''))
  return Promise.all(paths)
}

/** A file of a container that has no name. The pipes of outputs, of which some are made ahead, have none either. */
const isNameless = (path: string): boolean =>
  path.endsWith('(deleted)') && !path.includes('/retrai-pipes-')
const isRefusal = expect.stringMatching(/^not_(started|isolated)$/)

describe.skipIf(isMissing('bwrap'))('a command is not started', () => {
  test('if the shell at its gate was killed', async () => {
    const { runner, bash, waiting } = await runOf()
    const pid = await waiting('true')
    process.kill(pid, 'SIGSTOP') // so that the runner does not learn of the death
    process.kill((await shellIn(pid)) ?? 0, 'SIGKILL')
    const next = bash('true')
    await vi.waitFor(async () => expect(await bwrapsOf(runner)).toHaveLength(2))
    process.kill(pid, 'SIGCONT')
    expect(await next).toMatchObject({ end: 'not_started', exitCode: null })
  })

  test('if only a part of it can be stored', async () => {
    const { runner, bash, waiting } = await runOf()
    await waiting('true')
    execFileSync('prlimit', ['--pid', String(runner.pid), '--fsize=32768:'])
    expect(await bash(`: ${'x'.repeat(100_000)}`)).toMatchObject({ end: 'not_started' })
  })

  test('if the runner has too few descriptors for it, which costs no other command', async () => {
    const { project, runner, bash } = await runOf()
    const notices: Notice[] = []
    const onNotice = (notice: Notice) => void notices.push(notice)
    const alone = { readable: ['/etc/hostname'], onNotice } // nothing waits for such a command
    await bash('mkdir -p .git/hooks; touch .git/hooks/pre-commit', alone)
    notices.splice(0)
    const { pid } = runner
    const open = (await openIn(runner)).length
    for (let free = 0; free < 24; free += 1) {
      execFileSync('prlimit', ['--pid', String(pid), `--nofile=${open + free}:`])
      const { end, exitCode, shortage, output } = await bash('touch .git/hooks/evil', alone)
      if (exitCode === null) {
        expect({ end, shortage }, output).toEqual({ end: isRefusal, shortage: 'EMFILE' })
        expect(output).toMatch(/EMFILE|Too many open files/)
      } else expect({ end, exitCode }).toEqual({ end: 'exited', exitCode: 1 })
    }
    expect(notices).toEqual([])
    expect(runner.pid).toBe(pid)
    expect(await openIn(runner)).not.toContain(project)
  })
})

/** A run on a server whose bwrap waits while it is held. */
async function heldRun() {
  const bin = await temporaryFolder()
  const [held, started, real] = ['held', 'started', 'real'].map((name) => join(bin, name))
  const found = execFileSync('sh', ['-c', 'command -v bwrap'], { encoding: 'utf8' }).trim()
  await symlink(found, real ?? '')
  const script = `#!/bin/sh
printf 'bwrap %s %s\\n' "$$" "$*" >>${started}
while [ -e ${held} ]; do sleep 0.01; done
exec ${real} "$@"
`
  await writeFile(join(bin, 'bwrap'), script, { mode: 0o755 })
  const run = await runOf({ ...process.env, PATH: `${bin}:${process.env.PATH}` })
  await rm(started ?? '')
  /** The bwraps that were started, each with whether it shows the home of the run. */
  const bwraps = async () =>
    [...(await readFile(started ?? '', 'utf8')).matchAll(/^bwrap (\d+) (.*)$/gm)].map(
      ([, pid, args = '']) => ({
        pid: Number(pid),
        isOfRun: /--bind-fd \d+ \/home\/agent/.test(args),
      }),
    )
  /** Runs a command, and waits until the container of the next one waits. */
  const waiting = async () => {
    expect(await run.bash('true')).toMatchObject({ end: 'exited' })
    await vi.waitFor(async () => {
      const [, ahead] = await bwraps()
      expect(await shellIn(ahead?.pid ?? 0)).toBeDefined()
    })
  }
  const hold = () => writeFile(held ?? '', '')
  const release = () => rm(held ?? '', { force: true })
  onTestFinished(release)
  return { ...run, waiting, bwraps, hold, release }
}

describe.skipIf(isMissing('bwrap'))('while containers take long to be made', () => {
  test('none is made ahead, because other commands wait for theirs', async () => {
    const { bash, waiting, bwraps, hold, release } = await heldRun()
    const others = { run: undefined } as unknown as Partial<Command>
    // Given a container that waits for the next command of a run,
    await waiting()
    const before = await bwraps()
    // and more other commands than containers are made at once,
    await hold()
    const count = 16 * availableParallelism()
    const queued = Array.from({ length: count }, () => bash('true', others))
    await vi.waitFor(async () =>
      expect((await bwraps()).length).toBeGreaterThanOrEqual(
        before.length + 2 * availableParallelism(),
      ),
    )
    // when the next command takes longer than it takes to begin another container,
    expect(await bash('sleep 0.2')).toMatchObject({ end: 'exited', exitCode: 0 })
    // then none was begun for the run, and all others get theirs.
    const all = await bwraps()
    expect(all.length).toBeLessThan(before.length + count)
    expect(all.filter(({ isOfRun }) => isOfRun)).toHaveLength(2)
    await release()
    for (const one of await Promise.all(queued)) expect(one.end).toBe('exited')
  })

  test('one whose run ends before it is made ends when it is', async () => {
    const { project, runner, bash, waiting, bwraps, hold, release } = await heldRun()
    // Given a container that is made for the command after the next one,
    await waiting()
    await hold()
    expect(await bash('sleep 0.2')).toMatchObject({ end: 'exited', exitCode: 0 })
    await vi.waitFor(async () => expect(await bwraps()).toHaveLength(3))
    // when its run ends before, whose home is still there,
    runner.forget(join(project, '../data/sandboxes/run/home'))
    await release()
    // then nothing of it is left.
    await expectAllDead((await bwraps()).map(({ pid }) => pid))
    await vi.waitFor(async () => expect((await openIn(runner)).some(isNameless)).toBe(false))
  })
})

test.skipIf(isMissing('bwrap'))('a container that waits ends with its run', async () => {
  const { isolation, waiting } = await runOf()
  const pid = await waiting('true')
  await isolation.forget('another')
  const shell = await shellIn(pid)
  expect(shell).toBeDefined()
  process.kill(shell ?? 0, 'SIGSTOP')
  await isolation.forget('run')
  await expectAllDead([pid])
})

test.skipIf(isMissing('bwrap'))('a container that waits ends with its runner', async () => {
  const { runner, waiting } = await runOf()
  const pid = await waiting('true')
  const shell = await shellIn(pid)
  process.kill(runner.pid ?? 0, 'SIGKILL')
  await expectAllDead([pid, shell ?? 0])
})
