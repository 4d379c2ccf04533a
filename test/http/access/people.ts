import { expect } from 'vitest'
import { ROLES, type Role } from '../../../src/api/auth.ts'
import { ask } from '../../support/requests.ts'
import { startTestServer, type TestServer } from '../../support/server.ts'

export const OPERATORS = ['operator', 'admin'] as const
const AUDITORS = ['auditor', 'admin'] as const
const ADMINS = ['admin'] as const

/** Who may use which route that is not open: the intended permissions, written a second time. */
export const PERMISSIONS: Readonly<Record<string, readonly Role[]>> = {
  'GET /metrics': ROLES,
  'GET /api/me': ROLES,
  'POST /api/tickets': ROLES,
  'GET /api/goals': ROLES,
  'GET /api/models': ROLES,
  'GET /api/isolation': ROLES,
  'GET /api/approvals': ROLES,
  'GET /api/mcp-servers': ROLES,
  'GET /api/runs': ROLES,
  'GET /api/search': ROLES,
  'GET /api/runs/:run_id': ROLES,
  'GET /api/runs/:run_id/events': ROLES,
  'GET /api/runs/:run_id/diff': ROLES,
  'GET /api/runs/:run_id/changes': ROLES,
  'GET /api/runs/:run_id/files/*': ROLES,
  'GET /api/runs/:run_id/conversation': ROLES,
  'GET /api/runs/:run_id/artifacts/:sha256': ROLES,
  'GET /api/runs/:run_id/proof': ROLES,
  'GET /api/runs/:run_id/redactions': ROLES,
  'GET /api/keys': ROLES,
  'GET /api/events': ROLES,
  'GET /api/ws': ROLES,
  'GET /api/ws/:run_id': ROLES,
  'POST /api/runs': OPERATORS,
  'POST /api/runs/:run_id/resume': OPERATORS,
  'POST /api/runs/:run_id/approvals/:seq': OPERATORS,
  'POST /api/runs/:run_id/abort': OPERATORS,
  'POST /api/runs/:run_id/messages': OPERATORS,
  'PATCH /api/runs/:run_id/config': OPERATORS,
  'POST /api/runs/:run_id/rollback': OPERATORS,
  'POST /api/runs/:run_id/apply': OPERATORS,
  'POST /api/runs/:run_id/discard': OPERATORS,
  'GET /api/runs/:run_id/export': AUDITORS,
  'GET /api/checkpoints': AUDITORS,
  'GET /api/checkpoints/:number': AUDITORS,
  'GET /api/checkpoints/:number/runs': AUDITORS,
  'GET /api/checkpoints/:number/runs/:run_id': AUDITORS,
  'GET /api/log': AUDITORS,
  'GET /api/log/checkpoint': AUDITORS,
  'GET /api/log/key': ROLES,
  'GET /api/log/tile/*': AUDITORS,
  'GET /api/access': AUDITORS,
  'GET /api/access/proof': AUDITORS,
  'GET /api/ledgers': AUDITORS,
  'GET /api/ledgers/:name': AUDITORS,
  'GET /api/tokens': AUDITORS,
  'POST /api/tokens': ADMINS,
  'DELETE /api/tokens/:id': ADMINS,
  'POST /api/runs/:run_id/redact': ADMINS,
  'PUT /api/runs/:run_id/hold': ADMINS,
  'DELETE /api/runs/:run_id/hold': ADMINS,
  'POST /api/retention': ADMINS,
  'GET /api/webhooks': ADMINS,
  'POST /api/webhooks': ADMINS,
  'GET /api/webhooks/:id': ADMINS,
  'DELETE /api/webhooks/:id': ADMINS,
  'POST /api/webhooks/:id/resume': ADMINS,
  'POST /api/webhooks/:id/test': ADMINS,
  'GET /api/webhooks/:id/deliveries': ADMINS,
}

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

/** A call that must succeed. @param line the method and the path */
export async function call<T>(
  { server }: Pick<People, 'server'>,
  secret: string,
  line: string,
  sent?: object,
): Promise<T> {
  const { status, body } = await ask<T>(server, line, sent, bearer(secret))
  expect([line, status < 300]).toEqual([line, true])
  return body
}

/** Starts a run. @returns its id */
export const runOf = async (people: Pick<People, 'server'>, secret: string): Promise<string> =>
  (await call<{ run_id: string }>(people, secret, 'POST /api/runs', { goal: 'pytest' })).run_id
