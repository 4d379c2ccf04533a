import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { cleanEnv, retrai, startServer } from './support.ts'

let folder: string
const cleanups: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-token-'))
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await rm(folder, { recursive: true, force: true })
})

const dataDir = () => join(folder, 'data')
const atFolder = (...args: string[]) => retrai(['token', ...args, '--data-dir', dataDir()])
async function serve(...args: string[]) {
  const place = ['--port', '0', '--data-dir', dataDir(), ...args]
  const server = await startServer(place, cleanEnv())
  cleanups.push(() => server.stop())
  return server
}
async function make(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await atFolder('create', ...args)
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/^retrai_[\w-]{43}\n$/)
  return stdout.trim()
}

test('tokens are made in a data folder, and then through the server that uses it', async () => {
  const early = await atFolder('create', 'ada', '--role', 'viewer')
  expect([early.code, early.stdout]).toEqual([3, ''])
  expect(early.stderr).toContain('must have the role admin')
  const root = await make('root', '--role', 'admin')

  const server = await serve()
  const busy = await atFolder('create', 'ada', '--role', 'viewer')
  expect(busy.code).toBe(3)
  expect(busy.stderr).toContain('in use already')
  expect(busy.stderr).toContain('--server')

  const asking = (secret: string, ...args: string[]) =>
    retrai(args, { ...cleanEnv(), RETRAI_SERVER: server.url, RETRAI_TOKEN: secret })
  const create = ['token', 'create', 'ada', '--role', 'viewer', '--expires-in', '30d', '--json']
  const refused = await asking('', ...create)
  expect(refused.code).toBe(3)
  expect(refused.stderr).toContain('Set RETRAI_TOKEN')
  const made = JSON.parse((await asking(root, ...create)).stdout)
  expect(made).toMatchObject({ name: 'ada', role: 'viewer', created_by: 'root' })
  expect(Date.parse(made.expires_at) - Date.parse(made.created_at)).toBe(30 * 86_400_000)

  expect((await asking(made.secret, 'runs')).code).toBe(0)
  const abort = await asking(made.secret, 'abort', '550e8400-e29b-41d4-a716-446655440000')
  expect([abort.code, abort.stderr]).toEqual([3, expect.stringContaining('yours is viewer')])
  expect((await asking(made.secret, 'token', 'list')).code).toBe(3)

  const listed = await asking(root, 'token', 'list')
  expect(listed.stdout).toMatch(
    /^NAME +ROLE +STATUS .*\nada +viewer +active .*\nroot +admin +active/,
  )
  const revoke = ['token', 'revoke', 'ada', '--reason', 'lost']
  expect((await asking(root, ...revoke)).stdout).toBe('ada revoked\n')
  expect((await asking(made.secret, 'runs')).stderr).toContain('was revoked')
  const last = await asking(root, 'token', 'revoke', 'root')
  expect([last.code, last.stderr]).toEqual([3, expect.stringContaining('admin')])
  const none = await asking(root, 'token', 'revoke', 'bob')
  expect([none.code, none.stderr]).toEqual([3, expect.stringContaining('no token "bob"')])
})

test('a server listens beyond loopback only if there is a token', async () => {
  // Only this machine reaches it, but it is not one of the names of loopback.
  const beyond = ['--host', '127.0.0.2']
  const refused = await retrai(['serve', ...beyond, '--port', '0', '--data-dir', dataDir()])
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('retrai token create NAME --role admin')
  expect(refused.stderr).toContain('RETRAI_TOKEN')
  const secret = await make('root', '--role', 'admin')
  const { url } = await serve(...beyond)
  expect((await fetch(`${url}/api/runs`)).status).toBe(401)
  const headers = { authorization: `Bearer ${secret}` }
  expect((await fetch(`${url}/api/runs`, { headers })).status).toBe(200)
})

test.each([
  [['create', 'ada'], '--role'],
  [['create', 'ada', '--role', 'root'], 'viewer, operator, auditor, admin'],
  [['create', 'Ada', '--role', 'admin'], 'must be of a-z'],
  [['create', 'ada', '--role', 'admin', '--expires-in', 'soon'], '30d'],
])('%j is refused with a reason', async (args, reason) => {
  const { code, stderr } = await atFolder(...args)
  expect(code).toBe(3)
  expect(stderr).toContain(reason)
})
