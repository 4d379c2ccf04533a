import { expect, test } from 'vitest'
import { commandOutput } from '../../src/agent/tools/commands.ts'
import type { Command } from '../../src/runner/command.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { check, project } from '../agent/goals/support.ts'
import { expectAllDead, pidsIn, temporaryFolder } from './support.ts'

const MIB = 1024 * 1024
const onLinux = process.platform === 'linux'
/** Allocates one MiB at a time until it is stopped. */
const HOG = 'echo $$ >> pids; x=; while :; do x+=$(printf "%1000000s" ""); done'

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
    expect(result).toMatchObject({ end: 'out_of_memory', exitCode: null, limitBytes: 64 * MIB })
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
    expect([low.limitBytes, high.limitBytes]).toEqual([32 * MIB, 64 * MIB])
  },
)

test('a command that prints without end is stopped, and its result gives the reason', async () => {
  const run = commandRunner({ ...DEFAULT_LIMITS, outputBytes: 4 * MIB })
  const result = await run({ ...bash(await temporaryFolder(), 'yes'), maxBytes: 10 })
  expect(result).toMatchObject({ end: 'too_much_output', exitCode: null, limitBytes: 4 * MIB })
  expect(commandOutput(result, 1).output).toContain('[stopped because it printed more than 4 MiB')
})

test.runIf(onLinux)('the verdict of a check gives the reason too', async () => {
  const cwd = await project({
    Makefile: 'test:\n\t@yes "$$(yes | head -c 1000)" | tr -d "\\\\n" | tail\n',
  })
  const verdict = await check('make-test', cwd, { runCommand: limited })
  expect(verdict).toMatchObject({
    achieved: false,
    reason: 'make test used more than 64 MiB of memory and was stopped',
  })
})
