import { execFile } from 'node:child_process'
import { readdir, rmdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { commandOutput } from '../../src/agent/tools/commands.ts'
import { type Command, killedBy } from '../../src/runner/command.ts'
import { groupPaths, makeControlGroup, removeControlGroup } from '../../src/runner/control-group.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { check, project } from '../checks/support.ts'
import { isMissing } from '../support/missing.ts'
import { expectAllDead, pidsIn, temporaryFolder } from './support.ts'

const MIB = 1024 * 1024
const onLinux = process.platform === 'linux'
/** Allocates eight MiB at a time until it is stopped. */
const HOG = 'echo $$ >> pids; x=; while :; do x+=$(printf "%8000000s" ""); done'

const limited = commandRunner({ ...DEFAULT_LIMITS, memoryBytes: 64 * MIB })
const bash = (cwd: string, script: string): Command => {
  const { signal } = new AbortController()
  return { file: 'bash', args: ['-c', script], cwd, timeoutMs: 120_000, signal }
}

test.runIf(onLinux).each([
  ['itself', HOG],
  ['in a process that has left its group', `setsid bash -c '${HOG}' & wait`],
  ['in many processes', `for n in 1 2 3; do ( ${HOG} ) & done; wait`],
])(
  'a command that takes too much memory %s is stopped, and its result says why',
  async (_, script) => {
    const cwd = await temporaryFolder()
    const result = await limited(bash(cwd, `echo begun; ${script}`))
    expect(result).toMatchObject({ end: 'out_of_memory', exitCode: null })
    expect(commandOutput(result, 1)).toEqual({
      output: 'begun\n[stopped because it used more than 64 MiB of memory, with all its processes]',
      exitCode: null,
      outcome: 'error',
    })
    await expectAllDead(await pidsIn(`${cwd}/pids`, script.includes('for n') ? 3 : 1))
  },
)

test.runIf(onLinux)('memory that processes share counts once', async () => {
  // Six processes share 20 MB during several looks.
  const script = `x=$(printf "%20000000s" ""); for n in 1 2 3 4 5; do ( sleep 1.5; : ) & done; wait; echo done`
  const result = await limited(bash(await temporaryFolder(), script))
  expect(result).toMatchObject({ end: 'exited', exitCode: 0, stdout: 'done\n' })
})

test.runIf(onLinux)(
  'a command may have a lower limit of its own, but not a higher one',
  async () => {
    const cwd = await temporaryFolder()
    const low = await limited({ ...bash(cwd, HOG), maxMemoryBytes: 32 * MIB })
    const high = await limited({ ...bash(cwd, HOG), maxMemoryBytes: 128 * MIB })
    expect([low.why, high.why]).toEqual(
      [32, 64].map((most) => `used more than ${most} MiB of memory`),
    )
  },
)

test.runIf(onLinux)('a command with too many processes is stopped', async () => {
  const run = commandRunner({ ...DEFAULT_LIMITS, processes: 20 })
  const script = 'for n in $(seq 40); do sleep 1000 & done; wait'
  const result = await run(bash(await temporaryFolder(), script))
  expect(result).toMatchObject({ end: 'too_many_processes', exitCode: null })
  expect(commandOutput(result, 1).output).toContain('it had more than 20 processes, with all')
  expect(killedBy(result)).toBe('processes')
})

test('while a disk has too little free space, no command starts', async () => {
  const run = commandRunner({ ...DEFAULT_LIMITS, freeDiskBytes: Number.MAX_SAFE_INTEGER })
  const cwd = await temporaryFolder()
  const result = await run(bash(cwd, 'touch made'))
  expect(result).toMatchObject({ end: 'not_started', exitCode: null })
  expect(result.output).toMatch(
    /^No command is started: there is less than .* MiB free on the disk/,
  )
  expect(await readdir(cwd)).toEqual([])
})

const group = makeControlGroup({ memoryBytes: 1024 * MIB, processes: 1000 })
afterAll(() => {
  if (group.isOk()) removeControlGroup(group.value)
})

const ifGrouped = test.skipIf(group.isErr())
const grouped = () => {
  const server = group._unsafeUnwrap()
  const { folder } = server
  const run = commandRunner({ ...DEFAULT_LIMITS, memoryBytes: 64 * MIB, group: server })
  return { run, folder }
}
const TOO_MUCH = 'head -c 400000000 /dev/zero | tail -c 300000000 | wc -c'

ifGrouped(
  'in a control group of its command, the kernel ends what takes too much memory',
  async () => {
    const { run, folder } = grouped()
    const cwd = await temporaryFolder()
    const named = await run(bash(cwd, 'cat /proc/self/cgroup'))
    expect(named.stdout).toMatch(new RegExp(`/${basename(folder)}/c[\\d-]+$`, 'm'))
    const result = await run(bash(cwd, TOO_MUCH))
    expect(result).toMatchObject({ end: 'out_of_memory', why: 'used more than 64 MiB of memory' })
    expect(await run(bash(cwd, 'echo fine'))).toMatchObject({ end: 'exited', stdout: 'fine\n' })
    const left = await readdir(folder, { withFileTypes: true })
    expect(left.filter((entry) => entry.isDirectory())).toEqual([])
  },
)

ifGrouped(
  'a command is in its control group before it begins, with its own arguments',
  async () => {
    const { run, folder } = grouped()
    const cwd = await temporaryFolder()
    const { signal } = new AbortController()
    const seen = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const args = ['/proc/self/cgroup']
        return (await run({ file: 'cat', args, cwd, timeoutMs: 60_000, signal })).stdout
      }),
    )
    expect(seen.filter((groups) => !groups.includes(`/${basename(folder)}/c`))).toEqual([])
    const args = ['%s|', 'a b', '', '$HOME', '*']
    const printed = await run({ file: 'printf', args, cwd, timeoutMs: 60_000, signal })
    expect(printed.stdout).toBe('a b||$HOME|*|')
    const missing = await run({ file: 'no-such-program', args: [], cwd, timeoutMs: 60_000, signal })
    expect(missing.end).toBe('not_found')
  },
)

/** Makes the group of a server that ends without removing it, and prints its folder. */
const OTHER_SERVER = `
import { makeControlGroup } from '${import.meta.dirname}/../../src/runner/control-group.ts'
const group = makeControlGroup({ memoryBytes: ${64 * MIB}, processes: 100 })
console.log(group._unsafeUnwrap().folder)`

ifGrouped('the control group of a server is removed by the next one after its death', async () => {
  const { folder } = grouped()
  const args = ['--input-type=module', '-e', OTHER_SERVER]
  const first = await promisify(execFile)(process.execPath, args)
  const second = await promisify(execFile)(process.execPath, args)
  const left = await readdir(dirname(folder))
  expect(left).not.toContain(basename(first.stdout.trim()))
  expect(left).toEqual(expect.arrayContaining([basename(folder), basename(second.stdout.trim())]))
})

test.skipIf(group.isErr() || process.getuid?.() !== 0)(
  'a server in another container does not remove the groups of this one',
  async () => {
    const { run, folder } = grouped()
    await run(bash(await temporaryFolder(), 'true'))
    const before = await readdir(folder)
    const contained = ['--pid', '--fork', '--mount-proc', '--propagation', 'private']
    const args = [...contained, process.execPath, '--input-type=module', '-e', OTHER_SERVER]
    const other = await promisify(execFile)('unshare', args)
    expect(await readdir(folder)).toEqual(before)
    // Nor does this one remove the other's.
    expect(await readdir(dirname(folder))).toContain(basename(other.stdout.trim()))
    const made = makeControlGroup({ memoryBytes: 1024 * MIB, processes: 1000 })
    expect(made._unsafeUnwrap()).toEqual(group._unsafeUnwrap())
    expect(await readdir(dirname(folder))).toContain(basename(other.stdout.trim()))
    await rmdir(other.stdout.trim())
  },
)

test.each([
  ['of version 2', '0::/system.slice/retrai.service\n', { '': '/system.slice/retrai.service' }],
  ['of both', '4:memory:/a\n2:cpu,cpuacct:/b\n0::/\n', { memory: '/a', cpuacct: '/b', '': '/' }],
])('control groups %s are found by their controllers', (_, text, found) => {
  expect(Object.fromEntries(groupPaths(text))).toMatchObject(found)
})

test('a missing control group is not taken for a missing program', async () => {
  const cwd = await temporaryFolder()
  const group = { version: 2, folder: join(cwd, 'gone') } as const
  const result = await commandRunner({ ...DEFAULT_LIMITS, group })(bash(cwd, 'true'))
  expect(result.end).toBe('not_started')
  expect(result.output).toContain('bash cannot be started, because it gets no control group')
})

ifGrouped('in a control group, even a process without a mark ends with its command', async () => {
  const { run } = grouped()
  const cwd = await temporaryFolder()
  const hidden = "env -i setsid bash -c 'echo $$ > pids.new; mv pids.new pids; exec sleep 1000' &"
  const script = `${hidden} until [ -s pids ]; do sleep 0.01; done; echo done`
  expect(await run(bash(cwd, script))).toMatchObject({ end: 'exited', stdout: 'done\n' })
  await expectAllDead(await pidsIn(join(cwd, 'pids'), 1))
})

test('a command that prints without end is stopped, its output is kept within its limit, and its result gives the reason', async () => {
  const run = commandRunner({ ...DEFAULT_LIMITS, outputBytes: 4 * MIB })
  const maxBytes = 4 * 1024
  const result = await run({ ...bash(await temporaryFolder(), 'yes & yes >&2'), maxBytes })
  expect(result).toMatchObject({ end: 'too_much_output', exitCode: null })
  expect(result.bytes).toBeGreaterThan(4 * MIB)
  for (const text of [result.stdout, result.stderr, result.output]) {
    expect(text.length).toBeLessThanOrEqual(maxBytes + 100)
  }
  expect(commandOutput(result, 1).output).toContain('[stopped because it printed more than 4 MiB')
})

test.skipIf(!onLinux || isMissing('make'))(
  'the verdict of a check that is stopped gives the reason too',
  async () => {
    const cwd = await project({
      Makefile: 'test:\n\t@yes "$$(yes | head -c 1000)" | tr -d "\\\\n" | tail\n',
    })
    const verdict = await check('make-test', cwd, { runCommand: limited })
    expect(verdict).toMatchObject({
      verdict: 'not_achieved',
      reason: 'make test used more than 64 MiB of memory and was stopped',
    })
  },
)
