import { expect } from 'vitest'
import { printed } from '../support/site.ts'
import { test } from '../support/test.ts'
import { cleanEnv, refused, retraiProcess } from './support.ts'

test('tokens are made through a server: the first one by whoever reaches its loopback', async ({
  site,
}) => {
  const server = await site.serve()
  const env = { ...cleanEnv(), RETRAI_SERVER: server.url }
  const viewer = ['token', 'create', 'ada', '--role', 'viewer']
  await refused(viewer, 'must have the role admin', env)
  const first = await server.retrai('token', 'create', 'root', '--role', 'admin')
  expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^retrai_[\w-]{43}\n$/) })
  const root = first.stdout.trim()

  const withToken = (secret: string) => ({ ...env, RETRAI_TOKEN: secret })
  const create = [...viewer, '--expires-in', '30d', '--json']
  await refused(create, 'Set RETRAI_TOKEN', env)
  const made = JSON.parse(await printed(create, withToken(root)))
  const asAda = withToken(made.secret)
  expect(made).toMatchObject({ name: 'ada', role: 'viewer', created_by: 'root' })
  expect(Date.parse(made.expires_at) - Date.parse(made.created_at)).toBe(30 * 86_400_000)

  await printed(['runs'], asAda)
  await refused(['abort', '550e8400-e29b-41d4-a716-446655440000'], 'yours is viewer', asAda)
  await refused(['token', 'list'], 'yours is viewer', asAda)

  expect(await printed(['token', 'list'], withToken(root))).toMatch(
    /^NAME +ROLE +STATUS .*\nada +viewer +active .*\nroot +admin +active/,
  )
  const revoke = ['token', 'revoke', 'ada', '--reason', 'lost']
  expect(await printed(revoke, withToken(root))).toBe('ada revoked\n')
  await refused(['runs'], 'was revoked', asAda)
  await refused(['token', 'revoke', 'root'], 'admin', withToken(root))
  await refused(['token', 'revoke', 'bob'], 'no token "bob"', withToken(root))
})

test('a server listens beyond loopback only if there is a token', async ({ site }) => {
  // Only this machine reaches it, but it is not one of the names of loopback.
  const beyond = ['--host', '127.0.0.2']
  const place = ['--port', '0', '--data-dir', site.path('data')]
  const early = await retraiProcess(['serve', ...beyond, ...place])
  expect(early.code).toBe(1)
  expect(early.stderr).toMatch(/Set RETRAI_TOKEN.*retrai token create NAME --role admin/)
  const local = await site.serve('data')
  const created = await local.retrai('token', 'create', 'root', '--role', 'admin')
  await local.stop()
  const { url } = await site.serve('data', { args: beyond })
  expect((await fetch(`${url}/api/runs`)).status).toBe(401)
  const headers = { authorization: `Bearer ${created.stdout.trim()}` }
  expect((await fetch(`${url}/api/runs`, { headers })).status).toBe(200)
})
