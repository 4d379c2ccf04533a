import { execFileSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { expect } from 'vitest'
import { ALL_KINDS, createClient } from '../../src/client/index.ts'
import type { Site } from '../support/site.ts'
import { test } from '../support/test.ts'
import { cleanEnv, start } from './support.ts'

const HOOK = new URL('./stuck-process.ts', import.meta.url).href
/** A server counts as stuck after 5 s, and is killed 4.5 s after SIGTERM. */
const AMPLE = 120_000

/** A server that is stuck while its site has a file of this name. */
async function serve(site: Site, name: string) {
  const env = {
    ...cleanEnv(),
    NODE_OPTIONS: `--import ${HOOK}`,
    RETRAI_TEST_STUCK: site.path(name),
    RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1',
  }
  const server = start(['serve', '--port', '0', '--data-dir', site.path('data')], env)
  site.onClose(async () => {
    server.child.kill('SIGKILL')
    await server.exit
  })
  const [, url = ''] = await server.prints(/ready at (http[^\s"]+)/)
  return { server, url }
}

test(
  'a server that is stuck in a loop is reported from another thread, and continues after the loop',
  async ({ site }) => {
    const { server, url } = await serve(site, 'stuck')
    await site.write('stuck', '')
    await server.prints(/the server is stuck: its event loop does not turn/)
    await rm(site.path('stuck'))
    await server.prints(/the server is no longer stuck/)
    expect((await fetch(`${url}/health/live`)).status).toBe(200)
    server.child.kill('SIGTERM')
    expect(await server.exit).toBe(0)
  },
  AMPLE,
)

test(
  'SIGTERM ends a server that is stuck in native code, and its runs continue',
  async ({ site }) => {
    const fifo = site.path('stuck.fifo')
    const { server, url } = await serve(site, 'stuck.fifo')
    const project = await site.project()
    const client = createClient({ baseUrl: url })
    const run = (
      await client.runs.create({ goal: 'shell-goal', cwd: project, model_name: 'nobody' })
    )._unsafeUnwrap()
    const events = client.watch(run.run_id, { kinds: ALL_KINDS })
    for await (const { kind } of events) if (kind === 'llm_retry') break

    execFileSync('sh', ['-c', 'mkfifo "$0"', fifo])
    await server.prints(/the server is stuck: its/)
    server.child.kill('SIGTERM')
    expect(await server.exit).toBe(null)
    expect(server.child.signalCode).toBe('SIGKILL')
    for (const logged of ['SIGTERM received', 'stuck and cannot stop']) {
      expect(server.stdout).toContain(logged)
    }

    await rm(fifo)
    const next = createClient({ baseUrl: (await serve(site, 'stuck.fifo')).url })
    let claims = 0
    for await (const { kind } of next.watch(run.run_id, { kinds: ALL_KINDS })) {
      if (kind === 'run_claimed') claims += 1
      if (claims === 2) break
    }
    expect(claims).toBe(2)
  },
  AMPLE,
)
