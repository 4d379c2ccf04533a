import { chown } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import type { CommandLimits } from '../../src/runner/command.ts'
import { isolated } from '../runner/support.ts'
import { OWNERS } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'
import { processesOf } from '../support/processes.ts'

const MIB = 1024 * 1024

async function place(owner: number, limits: Partial<CommandLimits> = {}) {
  const { project, bash } = await isolated('namespaces', { limits })
  await chown(project, owner, owner)
  return (script: string) => bash(script, { run: 'run' })
}

describe.skipIf(isMissing('bwrap')).each(OWNERS)('in a project of user %i', (owner) => {
  test('a fork bomb ends at the limit of processes, and leaves no process', async () => {
    const bash = await place(owner, { processes: 40 })
    const result = await bash('bomb() { sleep 98764 & bomb | bomb & }; bomb; wait; echo survived')
    expect(result.output).not.toContain('survived')
    const running = await bash('pgrep -xc sleep; :')
    expect(running).toMatchObject({ end: 'exited', stdout: '0\n' })
    expect(processesOf('sleep 98764')).toEqual([])
  })

  test.each(['~', '/tmp'])('what fills %s is stopped', async (folder) => {
    const bash = await place(owner, { homeBytes: 4 * MIB })
    const result = await bash(`head -c 700000000 /dev/zero >${folder}/large; sleep 1000`)
    const why = 'wrote more than 4 MiB into its home and its temporary files'
    expect(result).toMatchObject({ end: 'disk_full', why })
  })

  test('files that a command keeps in memory have a limit, wherever they are', async () => {
    const bash = await place(owner)
    const { stdout } = await bash(
      'while read -r _ on type options _; do [ $type = tmpfs ] && [ -w $on ] && echo $on $(stat -fc "%b %S" $on); done </proc/mounts',
    )
    const writable = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
    const bytes = writable.map(([, blocks, blockBytes]) => Number(blocks) * Number(blockBytes))
    expect(bytes.reduce((sum, one) => sum + one)).toBeLessThanOrEqual(2560 * MIB)
    expect(writable.map(([folder]) => folder)).toContain('/dev/shm')
  })
})
