import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { describe, expect, onTestFinished } from 'vitest'
import type { AgentEvent } from '../../src/client/index.ts'
import { makeDataFolder } from '../../src/server/data-folder.ts'
import { Settings } from '../../src/server/settings.ts'
import { isMissing } from '../support/missing.ts'
import { portOf } from '../support/serve.ts'
import { bash, type Site } from '../support/site.ts'
import { test } from '../support/test.ts'
import { cleanEnv, kept, observe, retrai, start, startAtTerminal } from './support.ts'

const place = (site: Site) => ['serve', '--port', '0', '--data-dir', site.path('data')]

/** Watches a run until the wanted event. The server closes the connection. */
function see(url: string, runId: string, wanted: (event: AgentEvent) => boolean) {
  return new Promise<void>((resolve) => {
    observe(url, runId, (event) => {
      if (wanted(event)) resolve()
    }).catch(() => {})
  })
}

describe('stopping', () => {
  test('SIGTERM closes sockets and ends commands, and the run continues at the next start', async ({
    site,
  }) => {
    const command = 'test -f go || { touch go; exec sleep 600; }'
    const model = await site.model([bash(command)])
    const server = await site.serve('data', { model })
    const runId = await server.start('project', { max_iterations: 1 })
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

    const again = await site.serve('data', { model })
    const events = await observe(again.url, runId)
    expect(events.find((event) => event.kind === 'tool_result')?.payload.outcome).toBe('unknown')
    expect(events.at(-1)?.kind).toBe('run_end')
  })

  test('SIGHUP ends an idle server, whose new data folder other users cannot read', async ({
    site,
  }) => {
    const server = await site.serve()
    expect((await stat(site.path('data'))).mode & 0o777).toBe(0o700)
    server.process.kill('SIGHUP')
    await once(server.process, 'exit')
    expect(server.process.exitCode).toBe(0)
  })

  test.skipIf(isMissing('landlock') || process.getuid?.() !== 0)(
    'a server of root that isolates by landlock leaves nothing below /var/tmp',
    async ({ site }) => {
      const left = async () =>
        (await readdir('/var/tmp')).filter((name) => name.startsWith('retrai-'))
      const before = await left()
      const server = await site.serve('data', { env: { RETRAI_ISOLATION: 'landlock' } })
      const own = (await left()).filter((name) => !before.includes(name))
      await server.stop()
      const hash = createHash('sha256')
        .update(await realpath(site.path('data')))
        .digest('hex')
      expect(own).toContain(`retrai-${hash.slice(0, 16)}`)
      expect(await left()).not.toContain(`retrai-${hash.slice(0, 16)}`)
    },
  )

  test('SIGTERM ends a server at once that waits for its store while it starts', async ({
    site,
  }) => {
    const silent = createServer()
    const store = `esdb://127.0.0.1:${await portOf(silent)}?tls=false`
    const starting = kept(start([...place(site), '--store', store], cleanEnv()))
    const [asked] = (await once(silent, 'connection')) as [Socket]
    onTestFinished(() => void asked.destroy())
    starting.child.kill('SIGTERM')
    await starting.exit
    expect(starting.child.signalCode).toBe('SIGTERM')
  })
})

describe('the start fails with a message', () => {
  test('for all settings that are not valid', async () => {
    const env = { ...cleanEnv(), EVENTSTORE_URL: 'http://example.org', RETRAI_LLM_BASE_URL: 'x' }
    const { code, stderr } = await retrai(['serve', '--port', 'eighty'], env)
    expect(code).toBe(1)
    for (const named of ['--port', '--store', 'RETRAI_LLM_BASE_URL', 'esdb://']) {
      expect(stderr).toContain(named)
    }
  })

  test('for a data folder that is not a folder', async ({ site }) => {
    const file = await site.write('file', '')
    for (const [folder, why] of [
      [file, `EEXIST: file already exists, mkdir '${file}'. Choose another one.`],
      // If the folder cannot be made, the attempts must end.
      ['/proc/retrai/data', ''],
    ] as const) {
      const none = await makeDataFolder(folder)
      expect(none._unsafeUnwrapErr()).toContain(`The data folder ${folder} cannot be made: ${why}`)
    }
  })

  test('--help lists every flag and variable, and the docs list every variable', async () => {
    const { code, stdout } = await retrai(['serve', '--help'])
    expect(code).toBe(0)
    for (const flag of ['--host', '--port', '--data-dir', '--store']) expect(stdout).toContain(flag)
    const settings = Object.keys(Settings.shape)
    const missing = (text: string) => settings.filter((name) => !text.includes(name))
    expect(missing(stdout)).toEqual([])
    const docs = ['docs/reference.md', 'docs/quickstart.md'].map((file) =>
      readFileSync(file, 'utf8'),
    )
    expect(missing(docs.join())).toEqual([])
  })
})

/** Python makes the terminal. */
test.skipIf(isMissing('python3'))(
  'at a terminal the server prints short lines with its address and what to do next, and Ctrl+C stops it',
  async ({ site }) => {
    const env = { ...cleanEnv(), NO_COLOR: '1', RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
    const running = kept(startAtTerminal(place(site), { ...env, RETRAI_MODEL: 'some-model' }))
    const [, url = ''] = await running.prints(/^retrAI is ready at (http:\S+)\r?$/m)
    await running.prints(/Ctrl\+C stops the server\./)
    expect(running.stdout).toMatch(new RegExp(`^  data {6}${site.path('data')}\\r?$`, 'm'))
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

/** Closes the terminal of a server that is ready, and ends as that does. */
const CLOSES = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
shown = b''
while b'Ctrl+C stops the server.' not in shown: shown += os.read(terminal, 4096)
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`

test.skipIf(isMissing('python3'))(
  'a server whose terminal is closed stops as it should',
  async ({ site }) => {
    expect(await startAtTerminal(place(site), cleanEnv(), CLOSES).exit).toBe(0)
    // Only a server that is stopped writes it.
    expect(readFileSync(site.path('data', 'clean-stops'), 'utf8')).toMatch(/\n$/)
  },
)
