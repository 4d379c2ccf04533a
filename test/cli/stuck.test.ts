import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ALL_KINDS, createClient } from '../../src/client/index.ts'
import { cleanEnv, type Running, start } from './support.ts'

const HOOK = new URL('./stuck-process.ts', import.meta.url).href
/** A server counts as stuck after 5 s, and is killed 4.5 s after SIGTERM. */
const AMPLE = 120_000

let folder: string
let running: Running[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-stuck-'))
  running = []
})
afterEach(async () => {
  for (const { child, exit } of running) {
    child.kill('SIGKILL')
    await exit
  }
  await rm(folder, { recursive: true, force: true })
})

/** A server that is stuck while the folder has a file of this name. */
async function serve(name: string) {
  const env = {
    ...cleanEnv(),
    NODE_OPTIONS: `--import ${HOOK}`,
    RETRAI_TEST_STUCK: join(folder, name),
    RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1',
  }
  const ports = ['--port', '0', '--health-port', '0']
  const server = start(['serve', ...ports, '--data-dir', join(folder, 'data')], env)
  running.push(server)
  const [, health = ''] = await server.prints(/GET (http\S+) reports/)
  const [, url = ''] = await server.prints(/ready at (http[^\s"]+)/)
  return { server, health, url }
}

/** Asks until the answer has this status. */
async function live(health: string, status: number): Promise<unknown> {
  for (;;) {
    const response = await fetch(health)
    const body = await response.json()
    if (response.status === status) return body
  }
}

test(
  'a server that is stuck in a loop is reported from another thread, with its stack',
  async () => {
    const { server, health, url } = await serve('stuck')
    expect(await live(health, 200)).toEqual({ status: 'ok' })
    const unknown = await fetch(new URL('/elsewhere', health))
    expect(unknown.status).toBe(404)

    await writeFile(join(folder, 'stuck'), '')
    expect(await live(health, 503)).toMatchObject({
      type: 'urn:retrai:problem:stuck',
      status: 503,
      detail: expect.stringContaining('restart it'),
    })
    const [line] = await server.prints(/^.*where the server is stuck.*$/m)
    expect(JSON.parse(line).stack).toMatch(
      /at spinWhileItIsThere \(file:.*stuck-process\.ts:\d+:\d+\)/,
    )

    // The report did not end it: it continues after the loop.
    await rm(join(folder, 'stuck'))
    await server.prints(/the server is no longer stuck/)
    expect(await live(health, 200)).toEqual({ status: 'ok' })
    expect((await fetch(`${url}/health/live`)).status).toBe(200)
    server.child.kill('SIGTERM')
    expect(await server.exit).toBe(0)
  },
  AMPLE,
)

test(
  'SIGTERM ends a server that is stuck in native code, and its runs continue',
  async () => {
    const fifo = join(folder, 'stuck.fifo')
    const { server, health, url } = await serve('stuck.fifo')
    const project = join(folder, 'project')
    await mkdir(project)
    await writeFile(join(project, '.retrai.yml'), 'check_command: "false"\n')
    const client = createClient({ baseUrl: url })
    const run = (
      await client.runs.create({ goal: 'shell-goal', cwd: project, model_name: 'nobody' })
    )._unsafeUnwrap()
    const events = client.watch(run.run_id, { kinds: ALL_KINDS })
    for await (const { kind } of events) if (kind === 'llm_retry') break

    execFileSync('sh', ['-c', 'mkfifo "$0"', fifo])
    await live(health, 503)
    server.child.kill('SIGTERM')
    expect(await server.exit).toBe(null)
    expect(server.child.signalCode).toBe('SIGKILL')
    for (const logged of [
      'the server is stuck: its',
      'SIGTERM received',
      'stuck and cannot stop',
    ]) {
      expect(server.stdout).toContain(logged)
    }

    await rm(fifo)
    const next = createClient({ baseUrl: (await serve('stuck.fifo')).url })
    let claims = 0
    for await (const { kind } of next.watch(run.run_id, { kinds: ALL_KINDS })) {
      if (kind === 'run_claimed') claims += 1
      if (claims === 2) break
    }
    expect(claims).toBe(2)
  },
  AMPLE,
)
