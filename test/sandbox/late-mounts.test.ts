import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { isMissing } from '../support/missing.ts'
import { startAs } from './other-servers.ts'

const run = promisify(execFile)

test.runIf(process.getuid?.() === 0 && !isMissing('bwrap')).each([0, 1500])(
  'what the machine mounts later is not in a container of a server of user %d',
  async (uid) => {
    const server = await startAs(uid, 'late-mounts-process.ts')
    const [line] = await once(server.stdout, 'data')
    const [, tools = '', inProject = ''] = /^mount (\S+) (\S+)$/m.exec(line) ?? []
    expect(tools).not.toBe('')
    const inside = ['--mount', `--target=${server.pid}`, '--']
    for (const path of [tools, inProject]) {
      await run('nsenter', [...inside, 'mount', '-t', 'tmpfs', '-o', 'mode=777', 'late', path])
    }
    let printed = ''
    server.stdout.on('data', (text) => {
      printed += text
    })
    server.stdin.write('\n')
    await once(server, 'close')
    const result = JSON.parse(printed)
    expect(result).toMatchObject({ level: 'namespaces', end: 'exited', exitCode: 0 })
    expect(result.stdout).toBe('\n')
    expect(result.stderr).toMatch(/Read-only file system/)
  },
)
