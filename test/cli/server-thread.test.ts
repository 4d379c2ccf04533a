import { readdirSync, readFileSync } from 'node:fs'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { ServerThread } from '../../src/cli/commands/server-thread.ts'
import { expectAllDead } from '../runner/support.ts'

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return '' // its process is gone
  }
}

/** The processes of this one that run commands. */
const runners = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => / \S (\d+) /.exec(textOf(`/proc/${pid}/stat`))?.[1] === String(process.pid))
    .filter((pid) => textOf(`/proc/${pid}/cmdline`).includes('runner-process'))
    .map(Number)

test.runIf(process.platform === 'linux')(
  'the process that runs commands starts before the server is given its settings, and ends with its thread',
  async () => {
    // Other test files of this process have some too.
    const before = new Set(runners())
    const thread = new ServerThread(pino({ level: 'silent' }))
    onTestFinished(() => thread.terminate())
    await thread.prepared
    const started = runners().filter((pid) => !before.has(pid))
    expect(started).toHaveLength(1)
    expect(textOf(`/proc/${started[0]}/environ`)).toBe('')
    await thread.terminate()
    await expectAllDead(started)
  },
)
