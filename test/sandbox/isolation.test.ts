import { existsSync } from 'node:fs'
import {
  chmod,
  chown,
  copyFile,
  mkdir,
  readdir,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Level } from '../../src/domain/isolation.ts'
import { makeControlGroup, removeControlGroup } from '../../src/runner/control-group.ts'
import { textOf } from '../../src/runner/processes.ts'
import type { Runner } from '../../src/runner/runner.ts'
import { collectOutput } from '../../src/runner/streams.ts'
import { expectAllDead, isolated, temporaryFolder } from '../runner/support.ts'
import { isRoot, LEVELS, OWNERS } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'
import { childrenOf, commandLine, descendantsOf } from '../support/processes.ts'

const withBwrap = test.skipIf(isMissing('bwrap'))

const MIB = 1024 * 1024
const place = (level: Level | 'auto' = 'namespaces', env: NodeJS.ProcessEnv = process.env) =>
  isolated(level, { env, limits: { memoryBytes: 64 * MIB } })

/** Of the one command that runs. */
function bwrapOf({ pid }: Runner): number {
  const [bwrap] = childrenOf(pid ?? 0).filter((child) => textOf(child, 'comm') === 'bwrap\n')
  if (bwrap === undefined) throw new Error('there is no bwrap')
  return bwrap
}

withBwrap('no other user of the machine can read the variables of a command', async () => {
  const { bash, runner } = await place()
  const abort = new AbortController()
  const env = { TOKEN: 'hidden-from-others' }
  const script = 'printf "$TOKEN\\n$(ls /proc/self/fd)\\n"; exec sleep 500'
  const { promise: isRunning, resolve: onOutput } = Promise.withResolvers<unknown>()
  const running = bash(script, { env, onOutput, signal: abort.signal })
  await isRunning
  const bwrap = bwrapOf(runner)
  const lines = [bwrap, ...descendantsOf(bwrap)].map(commandLine)
  expect(lines.join()).not.toContain('hidden-from-others')
  abort.abort()
  // 3 is that of ls. Nothing with which the container was made is open in it.
  expect((await running).output).toBe('hidden-from-others\n0\n1\n2\n3\n')
})

test('if nothing can isolate commands, they are refused, and the message says what to do', async () => {
  const { isolation, bash, project } = await place('auto', { PATH: '/nowhere' })
  expect(isolation.level).toBeNull()
  expect(isolation.detail).toMatch(/install bubblewrap .*RETRAI_ISOLATION=none/)
  const result = await bash('touch made')
  expect(result).toMatchObject({ end: 'not_isolated', output: isolation.detail })
  expect(await readdir(project)).toEqual([])
})

withBwrap('if the program that isolates commands is gone, they are refused', async () => {
  const bin = await temporaryFolder()
  await copyFile('/usr/bin/bwrap', join(bin, 'bwrap'))
  const { bash, project } = await place('namespaces', { PATH: `${bin}:${process.env.PATH}` })
  if (isRoot) await chown(project, 1500, 1500)
  await rm(join(bin, 'bwrap'))
  expect(await bash('true')).toMatchObject({
    end: 'not_isolated',
    output: expect.stringContaining('bwrap is not installed any more'),
  })
})

withBwrap(
  'the best level is chosen, it leaves nothing in the project, which may be named through a link',
  async () => {
    const { base, isolation, bash, project } = await place('auto')
    expect(isolation.level).toBe('namespaces')
    expect(await bash('pwd; echo done >file')).toMatchObject({
      exitCode: 0,
      stdout: `${project}\n`,
    })
    expect(await readdir(project)).toEqual(['file'])
    const cwd = join(base, 'link')
    await symlink(project, cwd)
    expect(await bash(`pwd; ls ${project}`, { cwd })).toMatchObject({ stdout: `${cwd}\nfile\n` })
  },
)

withBwrap(
  'a run keeps its home and its temporary files, a check has empty ones, and the end of the run removes them',
  async () => {
    const { bash, isolation, dataDir } = await place()
    await bash('echo kept | tee ~/own >/tmp/own', { run: 'run-1' })
    const look = 'cat ~/own /tmp/own; echo "$HOME"'
    expect(await bash(look, { run: 'run-1' })).toMatchObject({
      stdout: 'kept\nkept\n/home/agent\n',
    })
    expect(await bash(look)).toMatchObject({ stdout: '/home/agent\n' })
    expect(await bash(look, { run: 'run-2' })).toMatchObject({ stdout: '/home/agent\n' })
    await isolation.forget('run-1')
    expect(await bash(look, { run: 'run-1' })).toMatchObject({ stdout: '/home/agent\n' })
    await isolation.forgetAllBut(new Set(['run-2']))
    expect(
      (await readdir(join(dataDir, 'sandboxes'))).filter((name) => name.startsWith('run')),
    ).toEqual(['run-2'])
  },
)

withBwrap(
  'the end of a run removes what it has at a stricter level than that of the server',
  async () => {
    const { bash, isolation, dataDir } = await place('landlock')
    const homes = async () =>
      (await readdir(join(dataDir, 'sandboxes'))).filter((name) => name.startsWith('run'))
    const atLeast = 'namespaces' as const
    for (const run of ['run-1', 'run-2', 'run-3']) {
      expect(await bash('echo $HOME', { run, atLeast })).toMatchObject({ stdout: '/home/agent\n' })
    }
    await isolation.forget('run-1')
    expect(await homes()).toEqual(['run-2', 'run-3'])
    await isolation.forgetAllBut(new Set(['run-3']))
    expect(await homes()).toEqual(['run-3'])
  },
)

withBwrap('a project that was exchanged for a link to the data folder is not opened', async () => {
  const { bash, project, base, dataDir } = await place()
  await rename(project, join(base, 'moved'))
  await symlink(dataDir, project)
  const result = await bash('ls -la')
  expect(result).toMatchObject({ end: 'not_isolated' })
  expect(result.output).toContain('leads to the data folder of the server')
})

withBwrap.each(OWNERS)(
  'a command does not survive its bwrap, and what it did is not known (owner of the project: %i)',
  async (owner) => {
    const { bash, project, runner } = await place()
    await chown(project, owner, owner)
    const running = bash('touch begun; exec sleep 1000.25')
    await expect.poll(() => existsSync(join(project, 'begun')), { timeout: 30_000 }).toBe(true)
    const bwrap = bwrapOf(runner)
    const inside = descendantsOf(bwrap)
    expect(inside.length).toBeGreaterThan(1)
    process.kill(bwrap, 'SIGKILL')
    expect(await running).toMatchObject({ end: 'lost', exitCode: null })
    await expectAllDead(inside)
  },
)

withBwrap(
  'a program that is missing, a time limit and too much memory have the same results as without isolation',
  async () => {
    const { bash } = await place()
    expect(await bash('', { file: 'no-such-program' })).toMatchObject({
      end: 'not_found',
      exitCode: null,
    })
    expect(await bash('echo begun; sleep 1000', { timeoutMs: 500 })).toMatchObject({
      end: 'timed_out',
      stdout: 'begun\n',
    })
    const hog = 'env -i setsid bash -c \'x=; while :; do x+=$(printf "%1000000s" ""); done\''
    expect(await bash(hog)).toMatchObject({ end: 'out_of_memory' })
    expect(await bash('kill -9 $$')).toMatchObject({ end: 'exited', exitCode: 137, output: '' })
  },
)

const group = makeControlGroup({ memoryBytes: 4096 * MIB, processes: 1000 })
afterAll(() => {
  if (group.isOk()) removeControlGroup(group.value)
})

describe.skipIf(isMissing('bwrap') || group.isErr())('with control groups', () => {
  const grouped = () =>
    isolated('namespaces', { limits: { memoryBytes: 64 * MIB, group: group._unsafeUnwrap() } })

  test.each(OWNERS)(
    'all processes of a command are in its control group (owner of the project: %i)',
    async (owner) => {
      const { bash, runner, project } = await grouped()
      await chown(project, owner, owner)
      const stop = new AbortController()
      const { signal } = stop
      // It starts nothing that ends: the kernel does not name the group of a process that has ended.
      const ended = bash('sleep 1000 & : >begun; wait', { signal })
      await expect.poll(() => existsSync(join(project, 'begun')), { timeout: 30_000 }).toBe(true)
      // From outside: in the container, its own group looks like the root of all groups.
      const bwrap = bwrapOf(runner)
      const pids = [bwrap, ...descendantsOf(bwrap)]
      const groups = pids.map((pid) => textOf(pid, 'cgroup'))
      stop.abort()
      expect(await ended).toMatchObject({ end: 'aborted' })
      expect(pids.length).toBeGreaterThan(3)
      for (const one of groups) expect(one).toMatch(/\/retrai-[\d:]+\/c[\d-]+$/m)
    },
  )

  test('a command that takes too much memory in a container ends as out of memory', async () => {
    const { bash } = await grouped()
    expect(await bash('head -c 400000000 /dev/zero | tail -c 300000000 | wc -c')).toMatchObject({
      end: 'out_of_memory',
      policy: { limits: { memory_by: 'cgroup' } },
    })
    expect(await bash('exit 3')).toMatchObject({ end: 'exited', exitCode: 3 })
    expect(await bash('ls /proc/self/fd')).toMatchObject({ stdout: '0\n1\n2\n3\n' })
    expect(await bash('no-such-program')).toMatchObject({ end: 'exited', exitCode: 127 })
  })
})

withBwrap('only without a network, programs do not try again to reach a host', async () => {
  const { bash } = await place()
  const script = 'echo "$npm_config_fetch_retries $PIP_RETRIES $CARGO_NET_RETRY"'
  expect((await bash(script)).output).toBe('0 0 0\n')
  expect((await bash(script, { network: { allow: ['registry.npmjs.org'] } })).output).toBe('  \n')
})

test('on another system than Linux, commands are refused until the level none is set', async () => {
  vi.spyOn(process, 'platform', 'get').mockReturnValue('darwin')
  onTestFinished(() => void vi.restoreAllMocks())
  const { isolation, bash } = await place('auto')
  expect(isolation.level).toBeNull()
  expect(isolation.detail).toMatch(/exists only on Linux.*RETRAI_ISOLATION=none/)
  expect(await bash('true')).toMatchObject({ end: 'not_isolated' })
})

test.for(LEVELS)(
  'at the level %s, a command can open its standard streams by their names',
  async ([, level, owner]) => {
    const { base, project, bash, start } = await place(level)
    await chmod(base, 0o711)
    if (owner !== null) await chown(project, owner, owner)
    const script =
      'echo 1 >/dev/stdout; echo 2 >/dev/stderr; echo 3 | tee /dev/stderr; echo 4 >/proc/self/fd/1'
    expect(await bash(script)).toMatchObject({
      end: 'exited',
      exitCode: 0,
      stdout: '1\n3\n4\n',
      stderr: '2\n3\n',
    })
    const isMighty = level === 'none' && isRoot
    const { stderr } = await bash('read -t 1 -r _ </dev/stdout')
    if (!isMighty) expect(stderr).toContain('/dev/stdout: Permission denied')
    // The second time, the input has ended before it is opened.
    const args = ['-c', 'cat /dev/stdin; cat /dev/stdin; echo over; echo no >/dev/stdin']
    const { signal } = new AbortController()
    const reader = await start({ file: 'bash', args, cwd: project, timeoutMs: 30_000, signal })
    const output = collectOutput(reader, 1_000, { maxTotalBytes: 1_000, onTooMuch: () => {} })
    reader.stdin.end('input\n')
    expect(await reader.ended).toMatchObject({ end: 'exited' })
    await output.closed
    expect(output.stdout.text()).toBe('input\nover\n')
    if (!isMighty) expect(output.stderr.text()).toContain('/dev/stdin: Permission denied')
  },
)

withBwrap('what is shown of a program cannot be changed', async () => {
  const { bash, dataDir } = await place()
  const view = join(dataDir, 'view')
  await mkdir(view)
  await writeFile(join(view, 'file'), 'seen')
  const script = `cat ${view}/file; echo no >${view}/file; ls ${dataDir}`
  const result = await bash(script, { readable: [view] })
  expect(result.stdout).toBe('seenview\n')
  expect(result.stderr).toContain('Read-only file system')
})
