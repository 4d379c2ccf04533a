import { expect } from 'vitest'
import { CLAIM, replyWith, type TestServer } from '../support/server.ts'
import { printed } from '../support/site.ts'
import { test } from '../support/test.ts'
import { refused } from './support.ts'

const SECRET = 'orchid-on-the-sill'

let server: TestServer
test.beforeAll(({ server: started }) => {
  server = started
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

const redacting = (runId: string, ...options: string[]) => [
  'redact',
  runId,
  '0',
  '/reason',
  '--server',
  server.url,
  '--reason',
  'a password',
  '--force',
  ...options,
]

test('without --force it shows what it would remove, and removes nothing where nobody can be asked', async () => {
  const runId = await runWithSecret()
  const place = ['0', '/reason', '--reason', 'a password', '--server', server.url]
  // The beginning of the id, as lists show it.
  const said = await refused(['redact', runId.slice(0, 8), ...place], '--force')
  expect(said).toContain(`This removes from run ${runId}, for ever:\n  record 0: /reason\n`)
  expect(await history(runId)).toContain(SECRET)
})

test('a text is redacted, and a later command lists where else the run contains the secret in it', async ({
  site,
}) => {
  const runId = await runWithSecret()
  expect(await printed(redacting(runId))).toBe('Redacted in record 0: /reason.\n')
  const again = await printed(redacting(runId, '-f', await site.write('secret', SECRET)))
  expect(again).toContain('This run still contains it:\n  4 /text\n')
  expect(await history(runId)).toContain(SECRET)
})

test('with --everywhere the secret is gone from the whole run', async ({ site }) => {
  const runId = await runWithSecret()
  const file = await site.write('secret', `${SECRET}\n`)
  const done = await printed(redacting(runId, '-f', file, '--everywhere'))
  expect(done).not.toContain('still contains')
  const after = await history(runId)
  expect(after).toContain('[redacted]')
  expect(after).not.toContain(SECRET)
})

test('a secret that cannot be read or is too short changes nothing', async ({ site }) => {
  await site.write('short', 'abc\n')
  const runId = await runWithSecret()
  for (const [name, why] of [
    ['nothing', 'cannot be read'],
    ['short', 'at least 4 characters'],
  ] as const) {
    await refused(redacting(runId, '-f', site.path(name)), why)
  }
  expect(await history(runId)).not.toContain('[redacted]')
})
