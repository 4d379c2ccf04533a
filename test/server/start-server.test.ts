import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import fastify from 'fastify'
import pino from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Runner } from '../../src/runner/runner.ts'
import { readSettings } from '../../src/server/read-settings.ts'
import { listen, startServer } from '../../src/server/start-server.ts'
import { temporaryFolder } from '../runner/support.ts'

test('a start that fails waits for the trials of commands that it has begun', async () => {
  const dataDir = await temporaryFolder()
  await writeFile(join(dataDir, 'log.sqlite'), 'Dear Sir or Madam, '.repeat(1000))
  const log = pino({ level: 'silent' })
  const { start } = Runner.prototype
  let begun = 0
  let underWay = 0
  const spy = vi.spyOn(Runner.prototype, 'start').mockImplementation(function (
    this: Runner,
    ...request
  ) {
    const call = start.apply(this, request)
    begun += 1
    underWay += 1
    // A machine that is slower than the store.
    const ended = call.ended.then(async (end) => {
      await delay(100)
      underWay -= 1
      return end
    })
    const { stdin, stdout, stderr } = call
    return { stdin, stdout, stderr, ended, stop: (cause) => call.stop(cause) }
  })
  onTestFinished(() => spy.mockRestore())
  const settings = readSettings({ dataDir, port: '0' }, { RETRAI_ISOLATION: 'namespaces' })
  const started = await startServer(settings._unsafeUnwrap(), { log })
  expect(started._unsafeUnwrapErr()).toContain('is not an event store')
  expect(begun).toBeGreaterThan(0)
  expect(underWay).toBe(0)
})

test('an address that this machine does not have is named, with what to choose', async () => {
  // Reserved for documentation (RFC 5737).
  const settings = readSettings({ host: '203.0.113.9', port: '0' }, {})._unsafeUnwrap()
  const app = fastify()
  onTestFinished(() => app.close())
  const refused = await listen(app, settings)
  expect(refused._unsafeUnwrapErr()).toMatch(/Cannot listen on 203\.0\.113\.9:0: .*with --host/)
})

test('an authority for time stamps, or a file of witnesses, that cannot be used refuses the start, with the reason', async () => {
  const dataDir = await temporaryFolder()
  const file = join(dataDir, 'ca.pem')
  await writeFile(file, '{"quorum":1,"witnesses":[]}')
  const RETRAI_TSA = 'https://tsa.example'
  for (const [env, why] of [
    [{ RETRAI_TSA }, 'Set both RETRAI_TSA and'],
    [{ RETRAI_TSA_CA: file }, 'Set both RETRAI_TSA and'],
    [{ RETRAI_TSA, RETRAI_TSA_CA: file }, `the file ${file} does not hold certificates in PEM`],
    [{ RETRAI_TSA, RETRAI_TSA_CA: `${file}x` }, 'ENOENT'],
    [{ RETRAI_WITNESSES: file }, `RETRAI_WITNESSES: the file ${file} is not valid`],
  ] as const) {
    const settings = readSettings({ dataDir, port: '0' }, env)._unsafeUnwrap()
    const started = await startServer(settings, { log: pino({ level: 'silent' }) })
    expect(started._unsafeUnwrapErr()).toContain(why)
  }
  const settings = readSettings({ dataDir, port: '0' }, { RETRAI_TSA: 'tsa.example' })
  expect(JSON.stringify(settings._unsafeUnwrapErr())).toContain(
    'must be an http:// or https:// address',
  )
})
