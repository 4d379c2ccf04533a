import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ServerProcess } from '../../examples/demo/server.ts'
import { brokenProject, goal, script } from '../../examples/scripted-model/fix-the-calculator.ts'
import { player, type Script } from '../../examples/scripted-model/script.ts'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import type { AgentEvent } from '../../src/client/index.ts'
import { Settings } from '../../src/server/settings.ts'
import { isMissing } from '../support/missing.ts'
import { CLI, cleanEnv, observe, Running, retrai, startAtTerminal, startServer } from './support.ts'

let folder: string
let cleanups: (() => Promise<unknown>)[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-serve-'))
  cleanups = [() => rm(folder, { recursive: true, force: true })]
})
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

const dataDir = () => join(folder, 'data')

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function serve(llmUrl = 'http://127.0.0.1:9/v1'): Promise<ServerProcess> {
  const env = { ...cleanEnv(), RETRAI_LLM_BASE_URL: llmUrl }
  const server = await startServer(['--port', '0', '--data-dir', dataDir()], env)
  cleanups.push(async () => {
    if (server.process.exitCode !== null || server.process.signalCode !== null) return
    server.process.kill('SIGKILL')
    await once(server.process, 'exit')
  })
  return server
}

async function model(played: Script): Promise<string> {
  const scripted = await startScriptedModel({ script: played })
  cleanups.push(() => scripted.close())
  return scripted.url
}

async function project(files: Readonly<Record<string, string>>): Promise<string> {
  const cwd = join(folder, 'project')
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(cwd, path)), { recursive: true })
    await writeFile(join(cwd, path), content)
  }
  return cwd
}

async function call(url: string, init?: RequestInit): Promise<Record<string, unknown>> {
  const response = await fetch(url, init)
  expect(response.ok, `${url} answers ${response.status}`).toBe(true)
  return (await response.json()) as Record<string, unknown>
}

/** The scripted model fixes one bug in each reply, and the goal is checked after each. */
const ONE_TURN = { max_turns_per_iteration: 1 }

async function start(url: string, body: Record<string, unknown>): Promise<string> {
  const created = await call(`${url}/api/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return String(created.run_id)
}

/** Watches a run until the wanted event. The server closes the connection. */
function see(url: string, runId: string, wanted: (event: AgentEvent) => boolean) {
  return new Promise<void>((resolve) => {
    observe(url, runId, (event) => {
      if (wanted(event)) resolve()
    }).catch(() => {})
  })
}

describe('a run on a real project', () => {
  test('reaches its goal, and all observers see the same, also after a restart', async () => {
    const cwd = await project(brokenProject)
    const server = await serve(await model(script))
    const runId = await start(server.url, { goal, cwd, model_name: 'scripted' })
    let late: Promise<AgentEvent[]> | undefined
    const first = await observe(server.url, runId, ({ kind }) => {
      if (kind === 'goal_check') late ??= observe(server.url, runId)
    })
    expect(await late).toEqual(first)
    expect(await observe(server.url, runId)).toEqual(first)
    const details = await call(`${server.url}/api/runs/${runId}`)
    expect(details).toMatchObject({
      status: 'achieved',
      final_state: { iteration: 1, goal_achieved: true, goal_reason: 'All 9 tests passed' },
    })
    await server.stop()
    expect(server.process.exitCode).toBe(0)

    const again = await serve()
    expect(await call(`${again.url}/api/runs/${runId}`)).toEqual(details)
    expect(await observe(again.url, runId)).toEqual(first)
  })

  test('continues after kill -9, without a lost or doubled record', async () => {
    const cwd = await project(brokenProject)
    // Between the iterations: what a call does that is cut off is not known, and the script does not look.
    const { promise: isKilled, resolve: onKilled } = Promise.withResolvers<void>()
    const play = player(script)
    const llmUrl = await model(async (request) => {
      if (request.turn > 0) await isKilled
      return play(request)
    })
    const killed = await serve(llmUrl)
    const runId = await start(killed.url, { goal, cwd, model_name: 'scripted', ...ONE_TURN })
    const before: AgentEvent[] = []
    await see(killed.url, runId, (event) => {
      before.push(event)
      return event.kind === 'iteration_complete'
    })
    killed.process.kill('SIGKILL')
    await once(killed.process, 'exit')
    onKilled()

    const server = await serve(llmUrl)
    const after = await observe(server.url, runId)
    expect(after.slice(0, before.length)).toEqual(before)
    expect(after.filter(({ kind }) => kind === 'run_end')).toHaveLength(1)
    expect(after.at(-1)).toMatchObject({ kind: 'run_end', payload: { achieved: true } })
  })
})

describe('stopping', () => {
  test('SIGTERM closes sockets and ends commands, and the run continues at the next start', async () => {
    const cwd = await project({ '.retrai.yml': 'check_command: "false"\n' })
    const command = 'test -f go || { touch go; exec sleep 600; }'
    const llmUrl = await model([{ calls: [{ tool: 'bash_exec', args: { command } }] }])
    const server = await serve(llmUrl)
    const body = { goal: 'shell-goal', cwd, model_name: 'scripted', max_iterations: 1 }
    const runId = await start(server.url, body)
    await see(server.url, runId, ({ kind }) => kind === 'tool_call')
    const closed = new Promise<number>((resolve) => {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/api/ws/${runId}`)
      socket.onopen = () => server.process.kill('SIGTERM')
      socket.onclose = ({ code }) => resolve(code)
    })
    expect(await closed).toBe(1001)
    await once(server.process, 'exit')
    // The exit code is 1 if the stop takes too long.
    expect(server.process.exitCode).toBe(0)

    const again = await serve(llmUrl)
    const events = await observe(again.url, runId)
    expect(events.find((event) => event.kind === 'tool_result')?.payload.outcome).toBe('unknown')
    expect(events.at(-1)?.kind).toBe('run_end')
  })

  test.each(['SIGINT', 'SIGHUP'] as const)(
    '%s ends an idle server, whose new data folder other users cannot read',
    async (signal) => {
      const server = await serve()
      expect((await stat(dataDir())).mode & 0o777).toBe(0o700)
      server.process.kill(signal)
      await once(server.process, 'exit')
      expect(server.process.exitCode).toBe(0)
    },
  )

  test.skipIf(isMissing('landlock') || process.getuid?.() !== 0)(
    'a server of root that isolates by landlock leaves nothing below /var/tmp',
    async () => {
      const left = async () =>
        (await readdir('/var/tmp')).filter((name) => name.startsWith('retrai-'))
      const before = await left()
      const env = { ...cleanEnv(), RETRAI_ISOLATION: 'landlock' }
      const server = await startServer(['--port', '0', '--data-dir', dataDir()], env)
      const own = (await left()).filter((name) => !before.includes(name))
      await server.stop()
      const hash = createHash('sha256')
        .update(await realpath(dataDir()))
        .digest('hex')
      expect(own).toContain(`retrai-${hash.slice(0, 16)}`)
      expect(await left()).not.toContain(`retrai-${hash.slice(0, 16)}`)
    },
  )

  test('SIGTERM ends a server that waits for its store while it starts', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const store = `esdb://127.0.0.1:${port}?tls=false`
    const args = ['serve', '--port', '0', '--data-dir', dataDir(), '--store', store]
    const starting = spawn(process.execPath, [CLI, ...args], {
      env: cleanEnv(),
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    cleanups.push(async () => {
      starting.kill('SIGKILL')
      silent.close()
    })
    const [asked] = (await once(silent, 'connection')) as [Socket]
    cleanups.push(async () => asked.destroy())
    const exited = once(starting, 'exit')
    starting.kill('SIGTERM')
    expect(await text(starting.stdout)).toContain('has not stopped in time')
    expect(await exited).toEqual([1, null])
  })
})

test('a server that a test started ends with the test run, even if that is killed', async () => {
  const support = JSON.stringify(new URL('./support.ts', import.meta.url).href)
  const args = JSON.stringify(['--port', '0', '--data-dir', dataDir()])
  const starting = `import { cleanEnv, startServer } from ${support}
    const server = await startServer(${args}, cleanEnv())
    console.log('pid ' + server.process.pid)`
  const run = new Running([process.execPath, '--input-type=module', '-e', starting], cleanEnv())
  const [, pid = ''] = await run.prints(/pid (\d+)/)
  run.child.kill('SIGKILL')
  await expect.poll(() => isRunning(Number(pid))).toBe(false)
})

describe('the start fails with a message', () => {
  test('for all settings that are not valid', async () => {
    const env = { ...cleanEnv(), EVENTSTORE_URL: 'http://example.org', RETRAI_LLM_BASE_URL: 'x' }
    const { code, stderr } = await retrai(['serve', '--port', 'eighty', '--log-level', 'loud'], env)
    expect(code).toBe(1)
    for (const named of ['--port', '--log-level', '--store', 'RETRAI_LLM_BASE_URL', 'esdb://']) {
      expect(stderr).toContain(named)
    }
  })

  test('for an address beyond loopback without a token', async () => {
    const place = ['--host', '0.0.0.0', '--port', '0', '--data-dir', dataDir()]
    const { code, stderr } = await retrai(['serve', ...place])
    expect(code).toBe(1)
    expect(stderr).toContain('RETRAI_TOKEN')
  })

  test('for a port that is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    cleanups.push(async () => other.close())
    await once(other, 'listening')
    const address = other.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const port = String(address.port)
    const { code, stderr } = await retrai(['serve', '--port', port, '--data-dir', dataDir()])
    expect(code).toBe(1)
    expect(stderr).toContain(`Port ${port} on 127.0.0.1 is taken`)
  })

  test.each([
    ['OLLAMA_HOST', 'box:port'],
    ['OPENAI_BASE_URL', 'localhost:8000'],
  ])('for a setting that is not valid: %s', async (name, value) => {
    const { code, stderr } = await retrai(['serve', '--data-dir', dataDir()], {
      ...cleanEnv(),
      [name]: value,
    })
    expect(code).toBe(1)
    expect(stderr).toMatch(
      new RegExp(`^retrai: These settings are not valid:\\n  ${name}: must be .*\\n$`),
    )
  })

  test('for a data folder that another server uses, or that is not a folder', async () => {
    await serve()
    const second = await retrai(['serve', '--port', '0', '--data-dir', dataDir()])
    expect(second.code).toBe(1)
    expect(second.stderr).toContain(dataDir())
    await writeFile(join(folder, 'file'), '')
    const none = await retrai(['serve', '--port', '0', '--data-dir', join(folder, 'file')])
    expect(none.code).toBe(1)
    expect(none.stderr).toBe(
      `retrai: The data folder ${join(folder, 'file')} cannot be made: there is a file with that name. Choose another one.\n`,
    )
    // If the folder cannot be made, the attempts must end.
    const nowhere = await retrai(['serve', '--port', '0', '--data-dir', '/proc/retrai/data'])
    expect(nowhere.code).toBe(1)
    expect(nowhere.stderr).toMatch(/^retrai: The data folder \/proc\/retrai\/data cannot be made: /)
  })

  test('--help lists every flag and variable, and the docs list every variable', async () => {
    const { code, stdout } = await retrai(['serve', '--help'])
    expect(code).toBe(0)
    for (const flag of ['--host', '--port', '--data-dir', '--store', '--log-level'])
      expect(stdout).toContain(flag)
    // The crash points are for tests.
    const settings = Object.keys(Settings.shape).filter((name) => name !== 'RETRAI_CRASH_AT')
    const missing = (text: string) => settings.filter((name) => !text.includes(name))
    expect(missing(stdout)).toEqual([])
    const docs = ['docs/reference.md', 'docs/quickstart.md'].map((file) =>
      readFileSync(file, 'utf8'),
    )
    expect(missing(docs.join())).toEqual([])
  })
})

test('a run whose model has no key is refused, with the name of the variable', async () => {
  const server = await startServer(['--port', '0', '--data-dir', dataDir()], cleanEnv())
  cleanups.push(() => server.stop())
  const response = await fetch(`${server.url}/api/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      goal: 'pytest',
      cwd: await project({}),
      model_name: 'claude-sonnet-4-6',
    }),
  })
  expect(response.status).toBe(422)
  expect(await response.text()).toContain('ANTHROPIC_API_KEY')
})

/** Python makes the terminal. */
test.skipIf(isMissing('python3'))(
  'at a terminal the server prints short lines with its address and what to do next, and Ctrl+C stops it',
  async () => {
    const env = { ...cleanEnv(), NO_COLOR: '1', RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
    const args = ['serve', '--port', '0', '--data-dir', dataDir()]
    const running = startAtTerminal(args, { ...env, RETRAI_MODEL: 'some-model' })
    cleanups.push(async () => {
      running.child.kill('SIGKILL')
      await running.exit
    })
    const [, url = ''] = await running.prints(/^retrAI is ready at (http:\S+)\r?$/m)
    await running.prints(/Ctrl\+C stops the server\./)
    expect(running.stdout).toMatch(new RegExp(`^  data {6}${dataDir()}\\r?$`, 'm'))
    expect(running.stdout).toMatch(/^ {2}isolation none\r?$/m)
    expect(running.stdout).toMatch(/^ {2}model {5}some-model\r?$/m)
    expect(running.stdout).toContain(`retrai run --cwd /path/to/your/project --server ${url}`)
    expect((await fetch(`${url}/health/ready`)).status).toBe(200)
    // No log lines except problems: here, that commands are not isolated.
    expect(running.stdout).not.toMatch(/"level"|INFO/)
    expect(running.stdout).toContain('WARN')
    running.type('\x03')
    expect(await running.exit).toBe(0)
    expect(running.stdout).toContain('SIGINT: stopping.')
    expect(running.stdout).not.toContain('\x1b[')
  },
)

/** The server has a terminal of its own, which closes when Python ends. */
test.skipIf(isMissing('python3'))(
  'a server whose terminal is closed stops as it should',
  async () => {
    const args = ['serve', '--port', '0', '--data-dir', dataDir()]
    const running = startAtTerminal(args, cleanEnv())
    await running.prints(/Ctrl\+C stops the server\./)
    running.child.kill('SIGKILL')
    await running.exit
    // Only a server that is stopped writes it.
    const stops = () => readFileSync(join(dataDir(), 'clean-stops'), 'utf8')
    await vi.waitFor(() => expect(stops()).toMatch(/\n$/), 20_000)
  },
)
