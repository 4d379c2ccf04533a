import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import type { CommandGroup } from '../../src/runner/processes.ts'
import { startPlain } from '../../src/runner/program/marked.ts'
import { startPiped } from '../../src/runner/program/process.ts'
import type { StartRequest } from '../../src/runner/protocol.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'

const openFiles = (): number => readdirSync('/proc/self/fd').length

const MANY = 20

describe.runIf(process.platform === 'linux')('the pipes of a process', () => {
  test('are used once: a process that outlives its command could keep them', async () => {
    const pipes = new Set<string>()
    for (let count = 0; count < MANY; count += 1) {
      const { stdout, stderr } = await startPiped(false, (stdio) =>
        spawn('sh', ['-c', 'stat -Lc %i /dev/stdout'], { stdio }),
      )
      const [output] = await Promise.all([text(stdout), text(stderr)])
      pipes.add(output)
    }
    expect(pipes.size).toBe(MANY)
  })

  test('leave nothing open in this process, with an input and if a process cannot be started', async () => {
    const run = async (file: string) => {
      const { stdin, stdout, stderr } = await startPiped(true, (stdio) => spawn(file, { stdio }))
      stdin?.end('echoed')
      const [output] = await Promise.all([text(stdout), text(stderr)])
      expect(output).toBe('echoed')
    }
    await run('cat')
    const before = openFiles()
    for (let count = 0; count < 4; count += 1) {
      await run('cat')
      await expect(run('/no/such/program')).rejects.toMatchObject({ code: 'ENOENT' })
    }
    await expect.poll(openFiles).toBeLessThanOrEqual(before)
  })

  test('are closed if a process cannot be moved to its control group', async () => {
    const full = {
      add: () => {
        throw new Error('there is no such group')
      },
    } as unknown as CommandGroup
    const request: StartRequest = {
      file: 'true',
      args: [],
      cwd: '/',
      project: '/',
      env: {},
      timeoutMs: null,
      limits: DEFAULT_LIMITS,
      group: null,
      sandbox: null,
      hasInput: true,
    }
    const isRefused = () => expect(startPlain(request, full)).rejects.toThrow('no such group')
    await isRefused()
    const before = openFiles()
    for (let count = 0; count < 4; count += 1) await isRefused()
    await expect.poll(openFiles).toBeLessThanOrEqual(before)
  })
})
