import { expect } from 'vitest'
import type { Site } from '../support/site.ts'
import { test } from '../support/test.ts'
import { cleanEnv, retrai, retraiProcess } from './support.ts'

const atFolder = (site: Site, ...args: string[]) =>
  retrai(['token', ...args, '--data-dir', site.path('data')])

async function make(site: Site, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await atFolder(site, 'create', ...args)
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/^retrai_[\w-]{43}\n$/)
  return stdout.trim()
}

test('tokens are made in a data folder, and then through the server that uses it', async ({
  site,
}) => {
  const early = await atFolder(site, 'create', 'ada', '--role', 'viewer')
  expect([early.code, early.stdout]).toEqual([3, ''])
  expect(early.stderr).toContain('must have the role admin')
  const root = await make(site, 'root', '--role', 'admin')

  const server = await site.serve()
  const busy = await atFolder(site, 'create', 'ada', '--role', 'viewer')
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

test('a server listens beyond loopback only if there is a token', async ({ site }) => {
  // Only this machine reaches it, but it is not one of the names of loopback.
  const beyond = ['--host', '127.0.0.2']
  const refused = await retraiProcess([
    'serve',
    ...beyond,
    '--port',
    '0',
    '--data-dir',
    site.path('data'),
  ])
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('retrai token create NAME --role admin')
  expect(refused.stderr).toContain('RETRAI_TOKEN')
  const secret = await make(site, 'root', '--role', 'admin')
  const { url } = await site.serve('data', { args: beyond })
  expect((await fetch(`${url}/api/runs`)).status).toBe(401)
  const headers = { authorization: `Bearer ${secret}` }
  expect((await fetch(`${url}/api/runs`, { headers })).status).toBe(200)
})
