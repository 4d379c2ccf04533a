import { execFileSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { expect } from 'vitest'
import { ALL_KINDS, createClient } from '../../src/client/index.ts'
import type { Site } from '../support/site.ts'
import { test } from '../support/test.ts'
import { cleanEnv, start } from './support.ts'

const HOOK = new URL('./stuck-process.ts', import.meta.url).href
/** A server is killed 4.5 s after SIGTERM. */
const AMPLE = 120_000

/** A server that is stuck while its site has the file `stuck`. */
async function serve(site: Site) {
  const env = {
    ...cleanEnv(),
    NODE_OPTIONS: `--import ${HOOK}`,
    RETRAI_TEST_STUCK: site.path('stuck'),
    RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1',
  }
  const server = start(['serve', '--port', '0', '--data-dir', site.path('data')], env)
  site.onClose(async () => {
    server.child.kill('SIGKILL')
    await server.exit
  })
  const [, url = ''] = await server.prints(/ready at (http[^\s"]+)/)
  return { server, client: createClient({ baseUrl: url }) }
}

test(
  'a server that is stuck is reported from another thread; it continues after a loop, and in native code SIGTERM ends it, and its runs continue',
  async ({ site }) => {
    const { server, client } = await serve(site)
    const cwd = await site.project()
    const wanted = { goal: 'shell-goal', cwd, model_name: 'nobody' }
    const run = (await client.runs.create(wanted))._unsafeUnwrap()
    const events = client.watch(run.run_id, { kinds: ALL_KINDS })
    for await (const { kind } of events) if (kind === 'llm_retry') break

    await site.write('stuck', '')
    await server.prints(/the server is stuck: its event loop does not turn/)
    await rm(site.path('stuck'))
    await server.prints(/the server is no longer stuck/)
    expect((await client.runs.get(run.run_id)).isOk()).toBe(true)

    execFileSync('sh', ['-c', 'mkfifo "$0"', site.path('stuck')])
    await server.prints(/no longer stuck[\s\S]*the server is stuck: its/)
    server.child.kill('SIGTERM')
    expect(await server.exit).toBe(null)
    expect(server.child.signalCode).toBe('SIGKILL')
    for (const logged of ['SIGTERM received', 'stuck and cannot stop']) {
      expect(server.stdout).toContain(logged)
    }

    await rm(site.path('stuck'))
    const { client: next } = await serve(site)
    let claims = 0
    for await (const { kind } of next.watch(run.run_id, { kinds: ALL_KINDS })) {
      if (kind === 'run_claimed') claims += 1
      if (claims === 2) break
    }
    expect(claims).toBe(2)
  },
  AMPLE,
)
