import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import WebSocket from 'ws'
import type { ServerProcess } from '../../examples/demo/server.ts'
import { createClient } from '../../src/client/index.ts'
import { cleanEnv, retrai } from '../cli/support.ts'
import { kill, Site, until, untilReady } from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(async () => {
  await site[Symbol.asyncDispose]()
})

const as = (server: ServerProcess, token: string) => createClient({ baseUrl: server.url, token })
const statusFor = async (server: ServerProcess, token?: string): Promise<number> => {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return (await fetch(`${server.url}/api/runs`, { headers })).status
}

test('servers that share a log accept the same tokens, and refuse them after their revocation', async () => {
  const standIn = await site.standIn()
  const args = ['--store', standIn.connectionString]
  const make = async (name: string, role: string): Promise<string> => {
    const made = await retrai(['token', 'create', name, '--role', role, ...args], cleanEnv())
    expect(made.code, made.stderr).toBe(0)
    return made.stdout.trim()
  }
  const [one, two] = [await site.serve('one', { args }), await site.serve('two', { args })]
  await Promise.all([untilReady(one), untilReady(two)])
  expect(await statusFor(two)).toBe(200)

  // Directly in the log, while both servers run.
  const root = await make('root', 'admin')
  for (const server of [one, two]) {
    await until(
      () => statusFor(server),
      (status) => status === 401,
    )
    expect(await statusFor(server, root)).toBe(200)
  }
  const { tokens } = as(one, root)
  const ada = (await tokens.create({ name: 'ada', role: 'viewer' }))._unsafeUnwrap()
  await until(
    () => statusFor(two, ada.secret),
    (status) => status === 200,
  )
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
  await kill(two)
  await standIn.faults.down()
  const again = await site.serve('two', { args })
  expect(await statusFor(again, root)).toBe(200)
  expect(await statusFor(again, ada.secret)).toBe(401)
  expect(await statusFor(again)).toBe(401)
  const fresh = await site.serve('three', { args })
  expect(await statusFor(fresh, root)).toBe(503)
  expect(await statusFor(fresh)).toBe(503)
  await standIn.faults.up()
  await until(
    () => statusFor(fresh, root),
    (status) => status === 200,
  )
  expect(await statusFor(fresh)).toBe(401)
})
