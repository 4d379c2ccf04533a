import { readdirSync, readlinkSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { commandOutput } from '../../src/agent/tools/commands.ts'
import { CRASH_MOMENTS, type CRASH_SIGNALS } from '../../src/runner/crash-moments.ts'
import { chooseIsolation, NO_ISOLATION } from '../../src/runner/isolation/isolation.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { isMissing } from '../support/missing.ts'
import { canMakeGroups, smallGroup } from '../support/small-group.ts'
import { temporaryFolder } from './support.ts'

const MIB = 1024 * 1024
/** A runner that does not answer for so long is killed. */
const IMPATIENT = { everyMs: 200, questions: 25 }
/** It makes no difference where a runner is stopped, and each case lasts until the patience ends. */
const MOMENTS = {
  killed: CRASH_MOMENTS,
  stopped: ['while stopping'],
} as const satisfies Record<keyof typeof CRASH_SIGNALS, readonly (typeof CRASH_MOMENTS)[number][]>

async function place(level: 'none' | 'namespaces') {
  const base = await temporaryFolder()
  const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
  await mkdir(dataDir)
  await mkdir(project)
  const logged: object[] = []
  const note = (facts: object) => void logged.push(facts)
  const runner = new Runner({ info: note, error: note }, undefined, IMPATIENT)
  onTestFinished(() => runner.close())
  const isolation =
    level === 'none'
      ? NO_ISOLATION
      : await chooseIsolation(level, { runner, dataDir, env: process.env, toolPaths: [] })
  const run = commandRunner(DEFAULT_LIMITS, runner, isolation)
  const bash = (script: string, timeoutMs = 60_000) => {
    const { signal } = new AbortController()
    return run({ file: 'bash', args: ['-c', script], cwd: project, timeoutMs, signal })
  }
  const left = (): string[] => processesIn(base)
  return { runner, bash, left, logged }
}

/** The processes whose folder is in this one. */
const processesIn = (folder: string): string[] =>
  readdirSync('/proc').filter((name) => {
    try {
      return /^\d/.test(name) && readlinkSync(`/proc/${name}/cwd`).startsWith(folder)
    } catch {
      return false
    }
  })

const none = { timeout: 20_000, interval: 20 }
const isLinux = process.platform === 'linux'

describe.runIf(isLinux).each(['none', 'namespaces'] as const)('at the level %s', (level) => {
  const isOff = level === 'namespaces' && isMissing('bwrap')

  test
    .skipIf(isOff)
    .each(level === 'none' ? (['killed'] as const) : (['killed', 'stopped'] as const))(
    'if the runner is %s at any moment, the result is unknown, and the command runs once and leaves no process',
    { timeout: 120_000 },
    async (how) => {
      const { runner, bash, left, logged } = await place(level)
      const moments = MOMENTS[how]
      for (const [n, moment] of moments.entries()) {
        runner.crash({ how, moment })
        const ends = moment === 'before its end' ? '' : '; sleep 1000'
        const script = `echo $$ >>began-${n}; (setsid sleep 1000 &); echo printed${ends}`
        const result = await bash(script, moment === 'while stopping' ? 1_000 : 60_000)
        expect([moment, result.end, result.exitCode]).toEqual([moment, 'lost', null])
        expect(commandOutput(result, 1)).toMatchObject({ outcome: 'unknown', exitCode: null })
        await expect.poll(left, none).toEqual([])
        const began = await bash(`cat began-${n} | wc -l`)
        expect(began).toMatchObject({ end: 'exited', exitCode: 0 })
        const times = Number(began.stdout)
        if (moment === 'before spawn') expect(times).toBe(0)
        else if (['after spawn', 'while stopping'].includes(moment)) expect([0, 1]).toContain(times)
        else expect(times).toBe(1)
      }
      const deaths = logged.filter((facts) => 'how' in facts)
      const expected = how === 'killed' ? 'SIGKILL' : 'it did not answer'
      expect(deaths).toMatchObject(moments.map(() => ({ how: expected, commands: 1 })))
    },
  )

  test.skipIf(isOff || !canMakeGroups)(
    'if the kernel kills the runner for lack of memory, the result is unknown, and the command leaves no process',
    { timeout: 120_000 },
    async () => {
      const { runner, bash, left } = await place(level)
      runner.connect()
      const group = smallGroup(2 * MIB)
      group.add(runner.pid ?? 0)
      const result = await bash('echo $$; for n in $(seq 1000); do (echo $n); done; sleep 1000')
      expect(result.end).toBe('lost')
      expect(group.kills()).toBeGreaterThan(0)
      await expect.poll(left, none).toEqual([])
      expect(await bash('echo again')).toMatchObject({ end: 'exited', stdout: 'again\n' })
    },
  )
})
