import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { expect } from 'vitest'
import WebSocket from 'ws'
import { createClient } from '../../src/client/index.ts'
import { is, type SiteServer, until } from '../support/site.ts'
import { test } from '../support/test.ts'

const statusFor = async (server: SiteServer, token?: string): Promise<number> => {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return (await fetch(`${server.url}/api/runs`, { headers })).status
}

test('servers that share a log accept the same tokens, and refuse them after their revocation', async ({
  site,
}) => {
  const standIn = await site.standIn()
  const store = standIn
  const one = await site.serve('one', { store })
  const two = await site.serve('two', { store })
  await Promise.all([one.untilReady(), two.untilReady()])
  expect(await statusFor(two)).toBe(200)

  const created = await one.retrai('token', 'create', 'root', '--role', 'admin')
  const root = created.stdout.trim()
  for (const server of [one, two]) {
    await until(() => statusFor(server), is(401))
    expect(await statusFor(server, root)).toBe(200)
  }
  const { tokens } = createClient({ baseUrl: one.url, token: root })
  const ada = (await tokens.create({ name: 'ada', role: 'viewer' }))._unsafeUnwrap()
  await until(() => statusFor(two, ada.secret), is(200))
  const socket = new WebSocket(`${two.url.replace('http', 'ws')}/api/ws`, {
    headers: { authorization: `Bearer ${ada.secret}` },
  })
  await once(socket, 'open')
  const closed = once(socket, 'close')
  ;(await tokens.revoke(ada.id))._unsafeUnwrap()
  expect((await closed)[0]).toBe(4401)
  expect(await statusFor(two, ada.secret)).toBe(401)

  // A server that starts without its store uses the tokens that it last read; a new server waits.
  await until(
    () => readFile(site.path('two', 'tokens.json'), 'utf8').catch(() => ''),
    (kept) => kept.includes('"by":"root"'),
  )
  await two.kill()
  await standIn.faults.down()
  const again = await site.serve('two', { store })
  expect(await statusFor(again, root)).toBe(200)
  expect(await statusFor(again, ada.secret)).toBe(401)
  expect(await statusFor(again)).toBe(401)
  const fresh = await site.serve('three', { store })
  expect(await statusFor(fresh, root)).toBe(503)
  expect(await statusFor(fresh)).toBe(503)
  await standIn.faults.up()
  await until(() => statusFor(fresh, root), is(200))
  expect(await statusFor(fresh)).toBe(401)
})
