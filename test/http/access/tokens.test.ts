import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'
import { permissions, ROLES, roleMay } from '../../../src/api/auth.ts'
import { createClient, type TokenView } from '../../../src/client/index.ts'
import { ask, recordsOf } from '../../support/requests.ts'
import { bearer, call, type People, startWithPeople } from './people.ts'

let people: People
beforeAll(async () => {
  people = await startWithPeople()
})
afterAll(() => people.server.stop())

const client = (secret: string) => createClient({ baseUrl: people.server.url, token: secret })
const admin = () => client(people.secrets.admin)
const refusal = z.object({ type: z.literal('refused'), code: z.string(), message: z.string() })

test('a token is created, used, listed and revoked', async () => {
  const made = (
    await admin().tokens.create({ name: 'ci', role: 'operator', expires_in: 3600 })
  )._unsafeUnwrap()
  expect(made).toMatchObject({
    name: 'ci',
    role: 'operator',
    status: 'active',
    created_by: 'admin',
  })
  const life = Date.parse(made.expires_at ?? '') - Date.parse(made.created_at)
  expect(life).toBe(3_600_000)
  const run = (await client(made.secret).runs.create({ goal: 'pytest' }))._unsafeUnwrap()
  const [record] = await recordsOf(people.server, run.run_id)
  expect(record?.meta.principal).toBe('ci')
  const { secret, ...view } = made
  const listed = (await client(people.secrets.auditor).tokens.list())._unsafeUnwrap()
  expect(listed[0]).toEqual(view)
  expect(JSON.stringify(listed)).not.toContain(secret)
  const revoked = (await admin().tokens.revoke(made.id, { reason: 'lost' }))._unsafeUnwrap()
  expect(revoked).toMatchObject({ revoked_by: 'admin', revoked_reason: 'lost' })
  expect((await admin().tokens.revoke(made.id))._unsafeUnwrap()).toEqual(revoked)
  const after = refusal.parse((await client(secret).me())._unsafeUnwrapErr())
  expect([after.code, after.message]).toEqual(['unauthenticated', 'The token "ci" was revoked.'])
})

test('no cache may keep the secret of a token', async () => {
  const wanted = { name: 'once', role: 'viewer' }
  const headers = bearer(people.secrets.admin)
  const answer = await ask(people.server, 'POST /api/tokens', wanted, headers)
  expect([answer.status, answer.headers.get('cache-control')]).toEqual([201, 'no-store'])
})

test('an admin that revokes its own token gets the answer', async () => {
  const spare = (await admin().tokens.create({ name: 'spare', role: 'admin' }))._unsafeUnwrap()
  const line = `DELETE /api/tokens/${spare.id}`
  const revoked = await call<TokenView>(people, spare.secret, line)
  expect(revoked.status).toBe('revoked')
  expect((await client(spare.secret).me()).isErr()).toBe(true)
})

test('when its token is revoked, a watch ends and does not reconnect', async () => {
  const run = (await admin().runs.create({ goal: 'pytest' }))._unsafeUnwrap()
  const wanted = { name: 'watcher', role: 'viewer' } as const
  const { id, secret } = (await admin().tokens.create(wanted))._unsafeUnwrap()
  const watching = client(secret).watch(run.run_id, { kinds: 'all' })
  expect((await watching.next()).value).toMatchObject({ kind: 'run_created' })
  const rest = watching.next()
  const refused = expect(rest).rejects.toMatchObject({ name: 'WatchError', type: 'refused' })
  ;(await admin().tokens.revoke(id))._unsafeUnwrap()
  await refused
})

test.each(ROLES)('GET /api/me lists the permissions of a %s', async (role) => {
  const me = (await client(people.secrets[role]).me())._unsafeUnwrap()
  const may = permissions().filter((permission) => roleMay(role, permission))
  expect(me).toEqual({ principal: role, role, may })
  const ticket = (await client(people.secrets[role]).ticket())._unsafeUnwrap()
  expect(ticket.ticket).toMatch(/^[\w-]{43}$/)
})
