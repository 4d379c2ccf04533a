import { afterAll, beforeAll, expect, test } from 'vitest'
import { CLAIM, replyWith, startTestServer, type TestServer } from '../support/server.ts'
import { Site } from '../support/site.ts'
import { retrai } from './support.ts'

const SECRET = 'orchid-on-the-sill'

let site: Site
let server: TestServer
beforeAll(async () => {
  site = await Site.open()
  await site.write('secret', `${SECRET}\n`)
  await site.write('short', 'abc\n')
  server = await startTestServer()
})
afterAll(async () => {
  await server.stop()
  await site.close()
})

/** An aborted run with the secret in three texts, each with other words around it. */
async function runWithSecret(): Promise<string> {
  const runId = await server.createRun({ reason: `because of ${SECRET}` })
  const call = { call_id: 'a', tool: 'bash_exec', args: { command: `echo ${SECRET}` } }
  await server.agentDoes(runId, CLAIM, replyWith([call], { text: `It is ${SECRET}.` }))
  await fetch(`${server.url}/api/runs/${runId}/abort`, { method: 'POST' })
  return runId
}

const history = async (runId: string) =>
  (await fetch(`${server.url}/api/runs/${runId}/events?kinds=all`)).text()

const redact = (runId: string, place: readonly [string, string], ...options: string[]) =>
  retrai([
    ...['redact', runId, ...place, '--server', server.url, '--reason', 'a password', '--force'],
    ...options,
  ])

test('without --force it shows what it would remove, and removes nothing where nobody can be asked', async () => {
  const runId = await runWithSecret()
  const place = ['0', '/reason', '--reason', 'a password', '--server', server.url]
  // The beginning of the id, as lists show it.
  const shown = await retrai(['redact', runId.slice(0, 8), ...place])
  expect(shown).toMatchObject({ code: 3, stdout: '' })
  expect(shown.stderr).toContain(`This removes from run ${runId}, for ever:\n  record 0: /reason\n`)
  expect(shown.stderr).toContain('--force')
  expect(await history(runId)).toContain(SECRET)
  const several = await retrai(['show', '00000000', '--server', server.url])
  expect(several).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('begins with 00000000'),
  })
})

test('a text is redacted, and a later command lists where else the run contains the secret in it', async () => {
  const runId = await runWithSecret()
  const plain = await redact(runId, ['0', '/reason'])
  expect(plain).toMatchObject({ code: 0, stdout: 'Redacted in record 0: /reason.\n' })
  const again = await redact(runId, ['0', '/reason'], '-f', site.path('secret'))
  expect(again.code).toBe(0)
  expect(again.stdout).toContain('This run still contains it:\n  4 /text\n')
  expect(await history(runId)).toContain(SECRET)
})

test('with --everywhere the secret is gone from the whole run', async () => {
  const runId = await runWithSecret()
  const options = ['-f', site.path('secret'), '--everywhere']
  const done = await redact(runId, ['0', '/reason'], ...options)
  expect(done.code, done.stderr).toBe(0)
  expect(done.stdout).not.toContain('still contains')
  const after = await history(runId)
  expect(after).toContain('[redacted]')
  expect(after).not.toContain(SECRET)
})

test('a secret that cannot be read or is too short changes nothing', async () => {
  const runId = await runWithSecret()
  for (const [name, why] of [
    ['nothing', 'cannot be read'],
    ['short', 'at least 4 characters'],
  ] as const) {
    const refused = await redact(runId, ['0', '/reason'], '-f', site.path(name))
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining(why) })
  }
  expect(await history(runId)).not.toContain('[redacted]')
})
