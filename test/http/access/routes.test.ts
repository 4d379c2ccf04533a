import diagnostics from 'node:diagnostics_channel'
import { Agent } from 'node:http'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { ROLES, type Role } from '../../../src/api/auth.ts'
import { rawRequest } from '../../support/server.ts'
import { bearer, OPERATORS, PERMISSIONS, type People, runOf, startWithPeople } from './people.ts'

type Route = { readonly method: string; readonly url: string }

/** Every route that the real app registers. */
const routes: Route[] = []
const onInitialization = (message: unknown): void => {
  const { fastify } = message as { readonly fastify: FastifyInstance }
  fastify.addHook('onRoute', ({ method, url }: RouteOptions) => {
    routes.push(...[method].flat().map((each) => ({ method: each, url })))
  })
}

let people: People
let runId: string
beforeAll(async () => {
  diagnostics.subscribe('fastify.initialization', onInitialization)
  people = await startWithPeople()
  diagnostics.unsubscribe('fastify.initialization', onInitialization)
  runId = await runOf(people, people.secrets.operator)
})
afterAll(() => {
  agent.destroy()
  return people.server.stop()
})

const isApi = ({ url }: Route): boolean => /^\/(api(\/|$)|metrics$)/.test(url)
/** A HEAD is a GET without its body. */
const expectedFor = ({ method, url }: Route): readonly Role[] | undefined =>
  PERMISSIONS[`${method === 'HEAD' ? 'GET' : method} ${url}`]

const VALUES: Readonly<Record<string, () => string>> = {
  run_id: () => runId,
  sha256: () => '0'.repeat(64),
  number: () => '0',
  id: () => '0b1f7e0a-4f5e-4a55-9d0b-6d1d7d3c9a10',
}
const pathOf = ({ url }: Route): string =>
  url.replace(/:(\w+)/g, (_, name: string) => VALUES[name]?.() ?? 'x').replaceAll('*', 'x')

const agent = new Agent({ keepAlive: true })
const ask = (route: Route, headers: Record<string, string>) =>
  rawRequest(people.server, { agent, method: route.method, path: pathOf(route), headers })

const Problem = z.object({ type: z.string(), detail: z.string() })

test('the table has every route under /api, and no other', () => {
  const api = routes.filter((route) => isApi(route) && route.method !== 'HEAD')
  expect(api.length).toBeGreaterThan(20)
  const names = api.map(({ method, url }) => `${method} ${url}`)
  expect(names.sort()).toEqual(Object.keys(PERMISSIONS).sort())
})

describe('every route under /api', () => {
  const api = () => routes.filter(isApi)

  test.each<[string, (people: People) => Record<string, string>]>([
    ['no token', () => ({})],
    ['an unknown token', () => bearer(`retrai_${'A'.repeat(43)}`)],
    ['an empty token', () => ({ authorization: 'Bearer ' })],
    ['the digest of a token', ({ server }) => bearer(server.auth.tokens()[0]?.sha256 ?? '')],
    ['a revoked token', ({ revoked }) => bearer(revoked)],
    ['an expired token', ({ expired }) => bearer(expired)],
    ['a token in another scheme', ({ secrets }) => ({ authorization: `Basic ${secrets.admin}` })],
  ])('answers 401 to %s', async (_, headersOf) => {
    for (const route of api()) {
      const answer = await ask(route, headersOf(people))
      expect(answer.status, `${route.method} ${route.url}`).toBe(401)
      expect(answer.headers['www-authenticate']).toMatch(/^Bearer/)
    }
  })

  test.each(ROLES)('permits the role %s what the table lists, and nothing else', async (role) => {
    for (const route of api()) {
      const roles = expectedFor(route) ?? []
      const answer = await ask(route, bearer(people.secrets[role]))
      const name = `${route.method} ${route.url}`
      if (roles.includes(role)) {
        expect([401, 403], name).not.toContain(answer.status)
        expect(answer.status, name).toBeLessThan(500)
        continue
      }
      expect(answer.status, name).toBe(403)
      if (route.method === 'HEAD') continue
      const { type, detail } = Problem.parse(JSON.parse(answer.body))
      expect(type).toBe('urn:retrai:problem:forbidden')
      for (const named of [role, ...roles]) expect(detail).toContain(named)
    }
  })

  test.each(ROLES)('answers the role %s about a folder only if it may start runs', async (role) => {
    const path = `/api/goals?cwd=${encodeURIComponent(import.meta.dirname)}`
    const answer = await rawRequest(people.server, { path, headers: bearer(people.secrets[role]) })
    const mayAsk = (OPERATORS as readonly Role[]).includes(role)
    expect(answer.status === 403).toBe(!mayAsk)
    if (!mayAsk) expect(answer.body).toContain('This needs the role operator or admin')
  })

  test('accepts no token in an address', async () => {
    for (const name of ['token', 'access_token', 'ticket']) {
      const path = `/api/runs?${name}=${people.secrets.admin}`
      expect((await rawRequest(people.server, { path })).status).toBe(401)
    }
  })
})

test('all other routes are open', async () => {
  const open = routes.filter((route) => !isApi(route))
  expect(open.length).toBeGreaterThan(5)
  for (const route of open) {
    for (const headers of [{}, bearer(people.revoked), bearer(people.secrets.viewer)]) {
      const { status } = await ask(route, headers)
      expect([401, 403], `${route.method} ${route.url}`).not.toContain(status)
    }
  }
})
