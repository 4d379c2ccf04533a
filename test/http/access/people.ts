import { expect } from 'vitest'
import { ROLES, type Role } from '../../../src/api/roles.ts'
import { startTestServer, type TestServer } from '../support.ts'

/** A server with tokens, and their secrets. */
export type People = {
  readonly server: TestServer
  /** By role. */
  readonly secrets: Readonly<Record<Role, string>>
  readonly revoked: string
  readonly expired: string
}

export const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` })

/** Each token has the name of its role. */
export async function startWithPeople(
  options: Parameters<typeof startTestServer>[0] = {},
): Promise<People> {
  let offset = 0
  const server = await startTestServer({ ...options, clock: () => Date.now() / 1000 + offset })
  const make = async (name: string, role: Role, expiresIn: number | null = null) =>
    (await server.auth.create({ name, role, expiresIn }, 'local'))._unsafeUnwrap()
  const secrets = { viewer: '', operator: '', auditor: '', admin: '' }
  for (const role of [...ROLES].reverse()) secrets[role] = (await make(role, role)).secret
  const revoked = await make('revoked', 'admin')
  ;(await server.auth.revoke(revoked.token.id, null, 'admin'))._unsafeUnwrap()
  const expired = await make('expired', 'admin', 60)
  offset = 61
  return { server, secrets, revoked: revoked.secret, expired: expired.secret }
}

/** A call that must succeed. */
export async function call<T>(
  { server }: Pick<People, 'server'>,
  secret: string,
  method: string,
  path: string,
  body?: object,
): Promise<T> {
  const answer = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      ...bearer(secret),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    body: body === undefined ? null : JSON.stringify(body),
  })
  expect(answer.ok, `${method} ${path}: ${answer.status}`).toBe(true)
  return (await answer.json()) as T
}
