import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { commandOutput } from '../../src/agent/tools/commands.ts'
import { processes, statOf } from '../../src/runner/processes.ts'
import { CRASH_MOMENTS, type CRASH_SIGNALS } from '../../src/runner/protocol.ts'
import { linkOf } from '../../src/sandbox/project-folder.ts'
import { LEVELS_HERE } from '../support/levels.ts'
import { canMakeGroups, smallGroup } from '../support/small-group.ts'
import { isolated } from './support.ts'

const MIB = 1024 * 1024
/** More than the time in which a runner has to answer. */
const SILENT_MS = 60_000
/** It makes no difference where a runner is stopped. */
const MOMENTS = {
  killed: CRASH_MOMENTS,
  stopped: ['while stopping'],
} as const satisfies Record<keyof typeof CRASH_SIGNALS, readonly (typeof CRASH_MOMENTS)[number][]>

async function place(level: 'none' | 'namespaces') {
  const logged: object[] = []
  const { base, runner, bash } = await isolated(level, { log: (facts) => void logged.push(facts) })
  // The processes whose folder is in that of the test.
  const left = () => processes().filter((pid) => linkOf(`/proc/${pid}/cwd`)?.startsWith(base))
  return { runner, bash, left, logged }
}

const isStopped = (pid: number | null): boolean => statOf(pid ?? 0)?.state === 'T'

const none = { timeout: 20_000, interval: 20 }
const isLinux = process.platform === 'linux'

const levels = LEVELS_HERE.filter((level) => level !== 'landlock')

describe.runIf(isLinux).each(levels)('at the level %s', (level) => {
  test.each(level === 'none' ? (['killed'] as const) : (['killed', 'stopped'] as const))(
    'if the runner is %s at any moment, the result is unknown, and the command runs once and leaves no process',
    { timeout: 120_000 },
    async (how) => {
      // Only the runner is asked by an interval.
      if (how === 'stopped') vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => void vi.useRealTimers())
      const { runner, bash, left, logged } = await place(level)
      const moments = MOMENTS[how]
      for (const [n, moment] of moments.entries()) {
        runner.crash({ how, moment })
        const ends = moment === 'before its end' ? '' : '; sleep 1000'
        const script = `echo $$ >>began-${n}; (setsid sleep 1000 &); echo printed${ends}`
        const timeoutMs = moment === 'while stopping' ? 1_000 : 60_000
        const running = bash(script, { timeoutMs })
        if (how === 'stopped') {
          await expect.poll(() => isStopped(runner.pid), none).toBe(true)
          vi.advanceTimersByTime(SILENT_MS)
        }
        const result = await running
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

  test.skipIf(!canMakeGroups)(
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
