import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { CommandGroup } from '../../src/runner/command-group.ts'
import { O_PATH } from '../../src/runner/isolation/mounts.ts'
import { startPlain } from '../../src/runner/plain-process.ts'
import type { StartRequest } from '../../src/runner/protocol.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { startPiped } from '../../src/runner/standard-pipes.ts'

/** How many files are open, without the pipes that wait to be used. */
function openFiles(): number {
  const folder = '/proc/self/fdinfo'
  return readdirSync(folder).filter((name) => {
    if (!existsSync(join(folder, name))) return false
    const [, flags = '0'] = /^flags:\s+(\d+)$/m.exec(readFileSync(join(folder, name), 'utf8')) ?? []
    return (Number.parseInt(flags, 8) & O_PATH) === 0
  }).length
}

/** More than are made at once. */
const MANY = 40
/** Prints which pipe its output is. */
const WHICH = 'stat -Lc %i /dev/stdout'

const start = (script: string, areReused: boolean) =>
  startPiped({ hasInput: false, areReused }, (stdio) =>
    spawn('sh', ['-c', script], { stdio: [...stdio] }),
  )

async function outputOf(script: string, areReused: boolean): Promise<string> {
  const { stdout, stderr } = await start(script, areReused)
  const [output] = await Promise.all([text(stdout), text(stderr)])
  return output
}

describe.runIf(process.platform === 'linux')('the pipes of a process', () => {
  test('are used again after their end', async () => {
    const pipes = new Set<string>()
    for (let count = 0; count < MANY; count += 1) pipes.add(await outputOf(WHICH, true))
    expect(pipes.size).toBeLessThan(MANY)
  })

  test('are used once if a process that outlives the command could keep them', async () => {
    const pipes = new Set<string>()
    for (let count = 0; count < MANY; count += 1) pipes.add(await outputOf(WHICH, false))
    expect(pipes.size).toBe(MANY)
  })

  test('are not used again while something may still write to them', async () => {
    const { child, stdout, stderr } = await start(`${WHICH}; exec sleep 500`, true)
    onTestFinished(() => void child.kill('SIGKILL'))
    const { promise: printed, resolve } = Promise.withResolvers<string>()
    stdout.once('data', (chunk: Buffer) => resolve(String(chunk)))
    const kept = await printed
    for (const pipe of [stdout, stderr]) pipe.destroy()
    for (let count = 0; count < MANY; count += 1) expect(await outputOf(WHICH, true)).not.toBe(kept)
  })

  test('leave nothing open in this process, with an input and if a process cannot be started', async () => {
    const run = async (file: string) => {
      const wanted = { hasInput: true, areReused: false }
      const { stdin, stdout, stderr } = await startPiped(wanted, (stdio) =>
        spawn(file, { stdio: [...stdio] }),
      )
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
      ...{ file: 'true', args: [], cwd: '/', project: '/', env: {}, timeoutMs: null, keptBytes: 0 },
      ...{ limits: DEFAULT_LIMITS, group: null, sandbox: null, hasInput: true },
    }
    const isRefused = () => expect(startPlain(request, full)).rejects.toThrow('no such group')
    await isRefused()
    const before = openFiles()
    for (let count = 0; count < 4; count += 1) await isRefused()
    await expect.poll(openFiles).toBeLessThanOrEqual(before)
  })

  test('do not hide why a process cannot be started', async () => {
    const missing = startPiped({ hasInput: true, areReused: true }, (stdio) =>
      spawn('/no/such/program', { stdio: [...stdio] }),
    )
    await expect(missing).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
