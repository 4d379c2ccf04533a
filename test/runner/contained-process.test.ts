import { execFileSync } from 'node:child_process'
import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Notice } from '../../src/domain/records.ts'
import type { Command } from '../../src/runner/command.ts'
import type { Runner } from '../../src/runner/runner.ts'
import { isMissing } from '../support/missing.ts'
import { isolated } from './support.ts'

async function runOf() {
  const { project, runner, bash } = await isolated()
  const inRun = (script: string, options: Partial<Command> = {}) =>
    bash(script, { project, run: 'run', ...options })
  return { project, runner, bash: inRun }
}

/** What a process has open, by the paths. */
async function openIn({ pid }: Runner): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  const paths = (await readdir(folder)).map((name) => readlink(join(folder, name)).catch(() => ''))
  return Promise.all(paths)
}

/** A file of a container that has no name. */
const isNameless = (path: string): boolean => path.endsWith('(deleted)')
const isRefusal = expect.stringMatching(/^not_(started|isolated)$/)

describe.skipIf(isMissing('bwrap'))('a command in a container', () => {
  test('finds nothing of the last one, except in the home and the temporary files of its run', async () => {
    const { runner, bash } = await runOf()
    await bash('touch /dev/shm/left /var/tmp/left ~/kept; (sleep 500 &)')
    const { output } = await bash('ls ~ /dev/shm /var/tmp; pgrep -c sleep')
    expect(output).toBe('/dev/shm:\n\n/home/agent:\nkept\n\n/var/tmp:\n0\n')
    expect((await openIn(runner)).some(isNameless)).toBe(false)
  })

  test('is not started if only a part of it can be stored', async () => {
    const { runner, bash } = await runOf()
    await bash('true')
    execFileSync('prlimit', ['--pid', String(runner.pid), '--fsize=32768:'])
    expect(await bash(`: ${'x'.repeat(100_000)}`)).toMatchObject({ end: 'not_started' })
  })

  test('is not started if the runner has too few descriptors for it, which costs no other command', async () => {
    const { project, runner, bash } = await runOf()
    const notices: Notice[] = []
    const onNotice = (notice: Notice) => void notices.push(notice)
    await bash('mkdir -p .git/hooks; touch .git/hooks/pre-commit', { onNotice })
    notices.splice(0)
    const { pid } = runner
    const open = (await openIn(runner)).length
    for (let free = 0; free < 24; free += 1) {
      execFileSync('prlimit', ['--pid', String(pid), `--nofile=${open + free}:`])
      const { end, exitCode, shortage, output } = await bash('touch .git/hooks/evil', { onNotice })
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
