import { expect } from 'vitest'
import { test } from '../support/test.ts'
import { cleanEnv, retrai, retraiProcess } from './support.ts'

test('tokens are made through a server: the first one by whoever reaches its loopback', async ({
  site,
}) => {
  const server = await site.serve()
  const early = await server.retrai('token', 'create', 'ada', '--role', 'viewer')
  expect([early.code, early.stdout]).toEqual([3, ''])
  expect(early.stderr).toContain('must have the role admin')
  const first = await server.retrai('token', 'create', 'root', '--role', 'admin')
  expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^retrai_[\w-]{43}\n$/) })
  const root = first.stdout.trim()

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
  const local = await site.serve('data')
  const created = await local.retrai('token', 'create', 'root', '--role', 'admin')
  await local.stop()
  const { url } = await site.serve('data', { args: beyond })
  expect((await fetch(`${url}/api/runs`)).status).toBe(401)
  const headers = { authorization: `Bearer ${created.stdout.trim()}` }
  expect((await fetch(`${url}/api/runs`, { headers })).status).toBe(200)
})
