import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startPiped } from '../../src/runner/standard-pipes.ts'

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
    const open = () => readdirSync('/proc/self/fd').length
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
    const before = open()
    for (let count = 0; count < 4; count += 1) {
      await run('cat')
      await expect(run('/no/such/program')).rejects.toMatchObject({ code: 'ENOENT' })
    }
    await expect.poll(open).toBeLessThanOrEqual(before)
  })

  test('do not hide why a process cannot be started', async () => {
    const missing = startPiped({ hasInput: true, areReused: true }, (stdio) =>
      spawn('/no/such/program', { stdio: [...stdio] }),
    )
    await expect(missing).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
