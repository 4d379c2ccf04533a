import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startPrinting } from '../../src/runner/output-pipes.ts'

/** More than are made at once. */
const MANY = 40
/** Prints which pipe its output is. */
const WHICH = 'stat -Lc %i /dev/stdout'

const start = (script: string, areReused: boolean) =>
  startPrinting({ areReused }, (outputs) =>
    spawn('sh', ['-c', script], { stdio: ['ignore', ...outputs] }),
  )

async function outputOf(script: string, areReused: boolean): Promise<string> {
  const { stdout, stderr } = await start(script, areReused)
  const [output] = await Promise.all([text(stdout), text(stderr)])
  return output
}

describe.runIf(process.platform === 'linux')('the pipes of outputs', () => {
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

  test('do not hide why a process cannot be started', async () => {
    const missing = startPrinting({ areReused: true }, (outputs) =>
      spawn('/no/such/program', { stdio: ['ignore', ...outputs] }),
    )
    await expect(missing).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
