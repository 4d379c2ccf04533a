import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Level } from '../../src/domain/isolation.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import { chooseIsolation } from '../../src/runner/isolation/isolation.ts'
import { type OutputPiece, WINDOW_BYTES } from '../../src/runner/protocol.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { Runner } from '../../src/runner/runner.ts'
import { type ProcessRequest, processStarter } from '../../src/runner/start-process.ts'
import { isMissing } from '../support/missing.ts'
import { expectAllDead, pidsIn, temporaryFolder } from './support.ts'

const onLinux = process.platform === 'linux'
const LEVELS = isMissing('bwrap') ? (['none'] as const) : (['none', 'namespaces'] as const)

async function place(level: Level) {
  const base = await temporaryFolder()
  const [dataDir, cwd] = [join(base, 'data'), join(base, 'project')]
  await mkdir(dataDir)
  await mkdir(cwd)
  const runner = new Runner({ info: () => {}, error: () => {} })
  onTestFinished(() => runner.close())
  const isolation = await chooseIsolation(level, {
    ...{ runner, dataDir, env: process.env, toolPaths: [] },
  })
  const startProcess = processStarter(DEFAULT_LIMITS, runner, isolation)
  const start = (script: string, options: Partial<ProcessRequest> = {}) => {
    const { signal } = new AbortController()
    return startProcess({ file: 'bash', args: ['-c', script], cwd, signal, ...options })
  }
  return { cwd, runner, start }
}

async function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const { chunk } of stream as AsyncIterable<OutputPiece>) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

/** The next output of a process, which begins with what it prints first. */
async function nextOf(stream: Readable): Promise<string> {
  stream.resume()
  const [piece] = (await once(stream, 'data')) as [OutputPiece]
  stream.pause()
  return piece.chunk.toString()
}

describe.each(LEVELS)('at the level %s', (level) => {
  test('a process answers what is written to it, until its input ends', async () => {
    const { start } = await place(level)
    const echo = await start('while read -r line; do echo "got $line"; done; echo over >&2; exit 3')
    echo.stdin.write('one\n')
    expect(await nextOf(echo.stdout)).toBe('got one\n')
    echo.stdin.write('two\n')
    expect(await nextOf(echo.stdout)).toBe('got two\n')
    echo.stdin.end()
    const [errors, end] = await Promise.all([textOf(echo.stderr), echo.ended])
    expect(errors).toBe('over\n')
    expect(end).toMatchObject({ end: 'exited', exitCode: 3 })
  })

  test('what is written arrives whole, whatever was written before the process could read', async () => {
    const { start } = await place(level)
    const whole = Buffer.alloc(5 * WINDOW_BYTES + 1, 'a line of input\n')
    const reader = await start('sleep 0.1; sha256sum')
    reader.stdin.write(whole.subarray(0, 7))
    reader.stdin.end(whole.subarray(7))
    expect(await textOf(reader.stdout)).toBe(`${sha256(whole)}  -\n`)
  })

  test('a process that reads nothing takes a window of input, and stops no other', async () => {
    const { start } = await place(level)
    const deaf = await start('echo ready; sleep 1000')
    await nextOf(deaf.stdout)
    const written = vi.fn()
    deaf.stdin.write(Buffer.alloc(4 * WINDOW_BYTES), written)
    const other = await start('cat')
    other.stdin.end('heard')
    expect(await textOf(other.stdout)).toBe('heard')
    expect(written).not.toHaveBeenCalled()
    deaf.stop()
    expect(await deaf.ended).toMatchObject({ end: 'aborted' })
    await vi.waitFor(() => expect(written).toHaveBeenCalledOnce())
  })

  test('a process has a time limit only if its request asks for one', async () => {
    const { start } = await place(level)
    const limited = await start('sleep 1000', { timeoutMs: 50 })
    expect(await limited.ended).toMatchObject({ end: 'timed_out' })
  })

  test('nothing is dropped from its output, however slowly it is read', async () => {
    const { start } = await place(level)
    const flood = await start('seq 1 1000000')
    await nextOf(flood.stdout)
    const rest = await textOf(flood.stdout)
    expect(rest.endsWith('\n999999\n1000000\n')).toBe(true)
    const expected = Array.from({ length: 1_000_000 }, (_, index) => `${index + 1}\n`).join('')
    expect(expected.endsWith(rest)).toBe(true)
  })

  test('all that a process has started ends with it when its signal is aborted', async () => {
    const { cwd, start } = await place(level)
    const stop = new AbortController()
    const script = `trap '' TERM; (setsid sleep 98761 &) & setsid sleep 98761 & echo ready; wait; sleep 98761`
    const deaf = await start(script, { cwd, signal: stop.signal })
    await nextOf(deaf.stdout)
    stop.abort()
    expect(await deaf.ended).toMatchObject({ end: 'aborted', exitCode: null })
    expect((await commandLines()).filter((line) => line === 'sleep 98761 ')).toEqual([])
  })

  test('a process that cannot be started says why, and its streams are over', async () => {
    const { start } = await place(level)
    const missing = await start('', { file: 'no-such-program', args: [] })
    missing.stdin.write('lost')
    expect(await missing.ended).toMatchObject({
      end: 'not_found',
      message: 'The program no-such-program is not found',
    })
    expect(await textOf(missing.stdout)).toBe('')
    const aborted = await start('touch made', { signal: AbortSignal.abort() })
    expect(await aborted.ended).toMatchObject({ end: 'aborted' })
    expect(await textOf(aborted.stdout)).toBe('')
  })
})

test('input for a process that has closed it fails', async () => {
  const { start } = await place('none')
  const closed = await start('exec 0<&-; echo closed; sleep 1000')
  await nextOf(closed.stdout)
  closed.stdin.write(Buffer.alloc(1024 * 1024))
  const [error] = (await once(closed.stdin, 'error')) as [Error]
  expect(error.message).toBe('The process reads no more input')
  closed.stop()
  await closed.ended
})

test.runIf(onLinux)('when the runner dies, a process is lost, and its input fails', async () => {
  const { cwd, runner, start } = await place(LEVELS.at(-1) ?? 'none')
  const cat = await start('echo ready; cat', { cwd })
  await nextOf(cat.stdout)
  process.kill(runner.pid ?? 0, 'SIGKILL')
  expect(await cat.ended).toMatchObject({ end: 'lost', exitCode: null })
  expect(cat.stdin.destroyed).toBe(true)
})

test.runIf(onLinux)('a process ends with a server that is killed', async () => {
  const cwd = await temporaryFolder()
  const module = (name: string) =>
    JSON.stringify(fileURLToPath(new URL(`../../src/runner/${name}.ts`, import.meta.url)))
  const server = join(cwd, 'server.ts')
  const script = "setsid bash -c 'echo $$ >> pids; sleep 1000; :' & echo $$ >> pids; cat"
  await writeFile(
    server,
    `import { NO_ISOLATION } from ${module('isolation/isolation')}
     import { DEFAULT_LIMITS } from ${module('run-command')}
     import { Runner } from ${module('runner')}
     import { processStarter } from ${module('start-process')}
     const start = processStarter(DEFAULT_LIMITS, new Runner({ info() {}, error() {} }), NO_ISOLATION)
     const { signal } = new AbortController()
     const args = ['-c', ${JSON.stringify(script)}]
     await (await start({ file: 'bash', args, cwd: ${JSON.stringify(cwd)}, signal })).ended`,
  )
  const started = spawn(process.execPath, [server], { cwd, stdio: 'ignore' })
  const pids = await pidsIn(join(cwd, 'pids'), 2)
  started.kill('SIGKILL')
  await once(started, 'exit')
  await expectAllDead(pids)
})

/** The command lines of all processes, with a blank after each argument. */
async function commandLines(): Promise<string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')),
  )
  return lines.map((line) => line.replaceAll('\0', ' '))
}
