import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, test, vi } from 'vitest'
import type { Level } from '../../src/domain/isolation.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import { INPUT_BYTES } from '../../src/runner/protocol.ts'
import type { ProcessRequest } from '../../src/runner/run-command.ts'
import { LEVELS_HERE } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'
import { commandLine, descendantsOf, processesOf } from '../support/processes.ts'
import { expectAllDead, isolated, pidsIn, startText, temporaryFolder } from './support.ts'

const LEVELS = LEVELS_HERE.filter((level) => level !== 'landlock')

async function place(level: Level) {
  const { project: cwd, runner, start, bash } = await isolated(level)
  const startBash = (script: string, options: Partial<ProcessRequest> = {}) => {
    const { signal } = new AbortController()
    return start({ file: 'bash', args: ['-c', script], cwd, signal, ...options })
  }
  return { cwd, runner, start: startBash, bash }
}

const RUN = '6f9619ff-8b86-4d11-b42d-00cf4fc964ff'
const OTHER_RUN = '7f9619ff-8b86-4d11-b42d-00cf4fc964ff'
const SERVER = `python3 -c 'import http.server as h
class Answer(h.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"served")
s = h.HTTPServer(("127.0.0.1", 8765), Answer)
print("listening", flush=True)
s.serve_forever()'`
const CLIENT = `python3 -c 'import urllib.request as r
print(r.build_opener(r.ProxyHandler({})).open("http://127.0.0.1:8765").read().decode())'`

/** The next output of a process, which begins with what it prints first. */
async function nextOf(stream: Readable): Promise<string> {
  stream.resume()
  const [chunk] = (await once(stream, 'data')) as [Buffer]
  stream.pause()
  return chunk.toString()
}

describe.each(LEVELS)('at the level %s', (level) => {
  test('a process answers its input until the input ends', async () => {
    const { start } = await place(level)
    const echo = await start('while read -r line; do echo "got $line"; done; echo over >&2; exit 3')
    echo.stdin.write('one\n')
    expect(await nextOf(echo.stdout)).toBe('got one\n')
    echo.stdin.write('two\n')
    expect(await nextOf(echo.stdout)).toBe('got two\n')
    echo.stdin.end()
    const [errors, end] = await Promise.all([text(echo.stderr), echo.ended])
    expect(errors).toBe('over\n')
    expect(end).toMatchObject({ end: 'exited', exitCode: 3 })
  })

  test('what is written arrives whole, whatever was written before the process could read', async () => {
    const { start } = await place(level)
    const whole = Buffer.alloc(5 * INPUT_BYTES + 1, 'a line of input\n')
    const reader = await start('sleep 0.1; sha256sum')
    reader.stdin.write(whole.subarray(0, 7))
    reader.stdin.end(whole.subarray(7))
    expect(await text(reader.stdout)).toBe(`${sha256(whole)}  -\n`)
  })

  test('a process that reads nothing takes a window of input, and stops no other', async () => {
    const { start } = await place(level)
    const deaf = await start('echo ready; sleep 1000')
    await nextOf(deaf.stdout)
    const written = vi.fn()
    deaf.stdin.write(Buffer.alloc(4 * INPUT_BYTES), written)
    const other = await start('cat')
    other.stdin.end('heard')
    expect(await text(other.stdout)).toBe('heard')
    expect(written).not.toHaveBeenCalled()
    deaf.stop()
    expect(await deaf.ended).toMatchObject({ end: 'aborted' })
    await vi.waitFor(() => expect(written).toHaveBeenCalledOnce(), 60_000)
  })

  test('a process that prints without end while nobody reads it is stopped', async () => {
    const { start } = await place(level)
    const unread = await start('yes')
    expect(await unread.ended).toMatchObject({ end: 'too_much_output' })
    expect(unread.stdout.readableLength).toBeLessThan(128 * 1024 * 1024)
  })

  test('a process has a time limit only if its request asks for one', async () => {
    const { start } = await place(level)
    const limited = await start('sleep 1000', { timeoutMs: 50 })
    expect(await limited.ended).toMatchObject({ end: 'timed_out' })
  })

  test('all that a process has started ends with it when its signal is aborted', async () => {
    const { cwd, start } = await place(level)
    const stop = new AbortController()
    const script = `trap '' TERM; (setsid sleep 98761 &) & setsid sleep 98761 & echo ready; wait; sleep 98761`
    const deaf = await start(script, { cwd, signal: stop.signal })
    await nextOf(deaf.stdout)
    stop.abort()
    expect(await deaf.ended).toMatchObject({ end: 'aborted', exitCode: null })
    expect(processesOf('sleep 98761')).toEqual([])
  })

  test('if a process cannot be started, the reason is reported, and its streams end', async () => {
    const { start } = await place(level)
    const missing = await start('', { file: 'no-such-program', args: [] })
    missing.stdin.write('lost')
    expect(await missing.ended).toMatchObject({
      end: 'not_found',
      message: 'The program no-such-program is not found',
    })
    expect(await text(missing.stdout)).toBe('')
    const aborted = await start('touch made', { signal: AbortSignal.abort() })
    expect(await aborted.ended).toMatchObject({ end: 'aborted' })
    expect(await text(aborted.stdout)).toBe('')
  })
})

test.skipIf(isMissing('bwrap') || isMissing('python3')).each([
  ['no network', 'none'],
  ['a list of hosts', { allow: ['example.org'] }],
] as const)(
  'with %s, commands of its run reach the ports of a process, and no other commands do',
  async (_, network) => {
    const { start, bash } = await place('namespaces')
    const own = { run: RUN, network, localhost: 'joins' } as const
    const server = await start(SERVER, { ...own, localhost: 'opens' })
    expect(await nextOf(server.stdout)).toMatch(/^listening/)
    const both = await Promise.all([bash(CLIENT, own), bash(CLIENT, own)])
    expect(both.map(({ output }) => output)).toEqual(['served\n', 'served\n'])
    const others = await Promise.all([
      bash(CLIENT, { ...own, run: OTHER_RUN }),
      bash(CLIENT, { run: RUN, network }),
      bash(CLIENT, { network, localhost: 'joins' }),
      bash(CLIENT, { ...own, network: { allow: ['other.example.org'] } }),
      bash(CLIENT),
    ])
    expect(others.map(({ exitCode }) => exitCode)).toEqual([1, 1, 1, 1, 1])
    const stranger = await start(SERVER, { ...own, run: OTHER_RUN, localhost: 'opens' })
    expect(await nextOf(stranger.stdout)).toMatch(/^listening/)
    server.stop()
    await server.ended
    expect(await bash(CLIENT, own)).toMatchObject({ exitCode: 1 })
    const interfaces = await bash('cat /proc/net/dev | grep -c :; cat /proc/net/route | wc -l', own)
    expect(interfaces.output).toBe('1\n1\n')
  },
)

test.skipIf(isMissing('bwrap'))(
  'in a shared network, each command has a way of its own to its hosts',
  async () => {
    const { start, bash } = await place('namespaces')
    const own = { run: RUN, network: { allow: ['allowed.example'] } } as const
    const seen: string[] = []
    const first = await start('echo "$https_proxy"; cat', {
      ...own,
      localhost: 'opens',
      onNotice: () => seen.push('process'),
    })
    const ask = `echo "$https_proxy"; exec 3<>/dev/tcp/127.0.0.1/\${https_proxy##*:}
      printf 'CONNECT refused.example:443 HTTP/1.1\\r\\n\\r\\n' >&3; head -n 1 <&3`
    const of = await nextOf(first.stdout)
    const second = await bash(ask, {
      ...own,
      localhost: 'joins',
      onNotice: () => seen.push('command'),
    })
    expect(second.output).toMatch(/403/)
    expect(second.output.split('\n')[0]).not.toBe(of.trim())
    expect(seen).toEqual(['command'])
    first.stdin.end()
    await first.ended
  },
)

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

/** Tries to outlive everything: it ignores signals, has sessions of its own, and clears its environment. */
const outlive = (seconds: number): string =>
  `trap '' TERM HUP; (setsid env -i sleep ${seconds} &); setsid sleep ${seconds} & echo $$ >> started; cat; sleep ${seconds}`

const sleeps = (seconds: number) =>
  expect.poll(() => processesOf(`sleep ${seconds}`).length, { timeout: 60_000 })

test.skipIf(isMissing('bwrap'))(
  'when the runner dies, a process ends with all that it has started, and writing to it fails',
  async () => {
    const { cwd, runner, start } = await place('namespaces')
    const process_ = await start(`echo ready; ${outlive(98_762)}`, {
      cwd,
      run: RUN,
      localhost: 'opens',
    })
    await nextOf(process_.stdout)
    await sleeps(98_762).toBeGreaterThan(0)
    process.kill(runner.pid ?? 0, 'SIGKILL')
    expect(await process_.ended).toMatchObject({ end: 'lost', exitCode: null })
    expect(process_.stdin.destroyed).toBe(true)
    await sleeps(98_762).toBe(0)
  },
)

test.skipIf(isMissing('bwrap'))(
  'a process ends with a server that is killed, and so does the network that it shares',
  async () => {
    const base = await temporaryFolder()
    const [cwd, dataDir] = [join(base, 'project'), join(base, 'data')]
    await mkdir(cwd)
    await mkdir(dataDir)
    const request = {
      file: 'bash',
      args: ['-c', outlive(98_763)],
      cwd,
      run: RUN,
      localhost: 'opens',
    }
    const server = `import { DEFAULT_LIMITS, processStarter } from 'src/runner/run-command.ts'
      import { Runner } from 'src/runner/runner.ts'
      import { chooseIsolation } from 'src/sandbox/isolation.ts'
      const runner = new Runner({ error() {} })
      const places = { dataDir: ${JSON.stringify(dataDir)}, env: process.env, toolPaths: [] }
      const isolation = await chooseIsolation('namespaces', { runner, ...places })
      const { signal } = new AbortController()
      const start = processStarter(DEFAULT_LIMITS, runner, isolation)
      await (await start({ ...${JSON.stringify(request)}, signal })).ended`
    const started = startText('/', server)
    await pidsIn(join(cwd, 'started'), 1)
    await sleeps(98_763).toBeGreaterThan(0)
    const holder = descendantsOf(started.pid ?? 0).filter(holdsNetwork)
    expect(holder).toHaveLength(1)
    started.kill('SIGKILL')
    await once(started, 'exit')
    await sleeps(98_763).toBe(0)
    await expectAllDead(holder)
  },
)

/** Whether a process keeps a network for the runner of a server. */
const holdsNetwork = (pid: number): boolean =>
  commandLine(pid).startsWith('/bin/sh\0-c\0echo $$; read -r _')
