import { once } from 'node:events'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NewTokenView } from '../../../src/api/auth.ts'
import { ask } from '../../support/requests.ts'
import { CLAIM, rawRequest, replyWith, resultOf, startTestServer } from '../../support/server.ts'
import { within } from '../../support/within.ts'
import { Watcher } from '../live/watcher.ts'
import { bearer, call, type People, runOf, startWithPeople } from './people.ts'

let people: People
let runId: string
beforeAll(async () => {
  people = await startWithPeople()
  runId = await runOf(people, people.secrets.admin)
})
afterAll(() => people.server.stop())

/** A token of a viewer, and what revokes it. */
async function viewerNamed(name: string) {
  const { admin } = people.secrets
  const made = { name, role: 'viewer' }
  const { id, secret } = await call<NewTokenView>(people, admin, 'POST /api/tokens', made)
  return { secret, revoke: () => call(people, admin, `DELETE /api/tokens/${id}`) }
}

type Way = { readonly query?: string; readonly secret?: string; readonly protocols?: string[] }

const watch = ({ query = '', secret, protocols = [] }: Way): Watcher => {
  const options = secret === undefined ? {} : { headers: bearer(secret) }
  return new Watcher(people.server, `${runId}?kinds=all${query}`, options, protocols)
}
/** What a WebSocket gets: its first frame, or the status of the refusal. */
async function outcome(way: Way): Promise<number | 'open'> {
  const watcher = watch(way)
  const refused = once(watcher.socket, 'unexpected-response').then(
    ([, response]) => response.statusCode as number,
  )
  const opened = watcher.have(1).then(() => 'open' as const)
  const result = await within(Promise.race([refused, opened]), () => 'a WebSocket or its refusal')
  for (const pending of [refused, opened]) pending.catch(() => {})
  watcher.socket.terminate()
  return result
}

/** Asks for an answer that does not end, and reads its beginning. @returns how it ends */
async function begun(url: string, headers: Record<string, string>) {
  const { status, body } = await fetch(url, { headers })
  expect(status).toBe(200)
  const reader = body?.getReader()
  await reader?.read()
  const drain = async () => {
    while (reader !== undefined && !(await reader.read()).done);
    return 'whole'
  }
  return () =>
    within(
      drain().catch(() => 'broken off'),
      () => 'an answer to end',
    )
}

const protocolOf = (secret: string) => `retrai.bearer.${Buffer.from(secret).toString('base64url')}`
const getTicket = async (secret: string): Promise<string> =>
  (await call<{ ticket: string }>(people, secret, 'POST /api/tickets')).ticket

describe('a WebSocket', () => {
  test('opens with the header, the subprotocol or the ticket of a caller that may read', async () => {
    for (const secret of Object.values(people.secrets)) {
      expect(await outcome({ secret })).toBe('open')
      expect(await outcome({ protocols: ['retrai', protocolOf(secret)] })).toBe('open')
      expect(await outcome({ query: `&ticket=${await getTicket(secret)}` })).toBe('open')
      const ticket = `retrai.ticket.${await getTicket(secret)}`
      expect(await outcome({ protocols: ['retrai', ticket] })).toBe('open')
    }
  })

  test('opens with the header, whatever else the client sends', async () => {
    const { viewer } = people.secrets
    const ticket = await getTicket(viewer)
    const watcher = watch({ secret: viewer, query: `&ticket=${ticket}` })
    await watcher.have(1)
    expect(watcher.frames[0]?.kind).toBe('run_created')
    watcher.socket.terminate()
    expect(await outcome({ query: `&ticket=${ticket}` })).toBe('open')
  })

  test('opens with nothing else', async () => {
    const { revoked, expired } = people
    expect(await outcome({})).toBe(401)
    for (const secret of [revoked, expired, 'none']) {
      expect(await outcome({ secret })).toBe(401)
      expect(await outcome({ protocols: ['retrai', protocolOf(secret)] })).toBe(401)
      expect(await outcome({ query: `&ticket=${secret}` })).toBe(401)
    }
    const { viewer } = people.secrets
    expect(await outcome({ query: `&token=${viewer}` })).toBe(401)
    expect(await outcome({ query: `&ticket=${viewer}` })).toBe(401)
    expect(await outcome({ protocols: ['retrai', viewer] })).toBe(401)
  })

  test('opens once with a ticket', async () => {
    const ticket = await getTicket(people.secrets.viewer)
    expect(await outcome({ query: `&ticket=${ticket}` })).toBe('open')
    expect(await outcome({ query: `&ticket=${ticket}` })).toBe(401)
    expect(await outcome({ protocols: ['retrai', `retrai.ticket.${ticket}`] })).toBe(401)
  })

  test('is answered with the subprotocol that holds no secret, if the client offers it', async () => {
    const ticket = `retrai.ticket.${await getTicket(people.secrets.viewer)}`
    const bare = protocolOf(people.secrets.viewer)
    for (const [protocols, chosen] of [
      [[ticket, 'retrai'], 'retrai'],
      [[bare], bare],
    ] as const) {
      const watcher = watch({ protocols: [...protocols] })
      await watcher.opened()
      expect(watcher.socket.protocol).toBe(chosen)
      watcher.socket.terminate()
    }
  })

  test('does not open with a ticket whose token has been revoked since', async () => {
    const { secret, revoke } = await viewerNamed('vera')
    const ticket = await getTicket(secret)
    await revoke()
    expect(await outcome({ query: `&ticket=${ticket}` })).toBe(401)
  })

  test('gets a ticket over HTTP only with a token', async () => {
    const path = '/api/tickets'
    expect((await rawRequest(people.server, { method: 'POST', path })).status).toBe(401)
    const headers = bearer(people.secrets.viewer)
    const answer = await rawRequest(people.server, { method: 'POST', path, headers })
    expect([answer.status, answer.headers['cache-control']]).toEqual([201, 'no-store'])
    const { ticket } = JSON.parse(answer.body)
    const read = await rawRequest(people.server, { path: `/api/runs?ticket=${ticket}` })
    expect(read.status).toBe(401)
  })
})

test('a revocation closes the sockets of the token with 4401, breaks off its event streams, and no others', async () => {
  const { auditor } = people.secrets
  const { secret: viewer, revoke } = await viewerNamed('victor')
  const watchers = [
    watch({ secret: viewer }),
    watch({ protocols: ['retrai', protocolOf(viewer)] }),
    watch({ query: `&ticket=${await getTicket(viewer)}` }),
  ]
  const other = watch({ secret: auditor })
  for (const watcher of [...watchers, other]) await watcher.have(1)
  const headers = { ...bearer(viewer), accept: 'text/event-stream' }
  const urls = ['/api/events', `/api/runs/${runId}/events`].map((path) => people.server.url + path)
  const ends = await Promise.all(urls.map((url) => begun(url, headers)))
  await revoke()
  for (const { closed } of watchers) {
    expect(await closed).toEqual({ code: 4401, reason: 'the token was revoked or has expired' })
  }
  for (const end of ends) expect(await end()).toBe('broken off')
  for (const url of urls) expect((await fetch(url, { headers })).status).toBe(401)
  expect(other.socket.readyState).toBe(other.socket.OPEN)
  other.socket.terminate()
})

test('a revocation breaks off a download', async () => {
  const endless = Readable.from(
    (async function* () {
      for (;;) yield Buffer.alloc(64 * 1024)
    })(),
  )
  const server = await startTestServer({
    token: 'configured-0123456789',
    artifacts: { read: async () => ({ bytes: 2 ** 40, stream: endless }) },
  })
  const id = await runOf({ server }, 'configured-0123456789')
  const sha256 = 'a'.repeat(64)
  const called = replyWith([{ call_id: 'a', tool: 'bash_exec', args: {} }])
  await server.agentDoes(id, CLAIM, called, resultOf('a', 'bash_exec', { sha256 }))
  const wanted = { name: 'ada', role: 'viewer', expiresIn: null } as const
  const { token, secret } = (await server.auth.create(wanted, 'token'))._unsafeUnwrap()
  const path = `${server.url}/api/runs/${id}/artifacts/${sha256}`
  const end = await begun(path, bearer(secret))
  ;(await server.auth.revoke(token.id, null, 'token'))._unsafeUnwrap()
  expect(await end()).toBe('broken off')
  expect(endless.destroyed).toBe(true)
  await server.stop()
})

test('the first token ends everything that was opened without a token', async () => {
  const open = await startTestServer()
  const id = await open.createRun()
  const watcher = new Watcher(open, `${id}?kinds=all`)
  await watcher.have(1)
  const root = { name: 'root', role: 'admin' }
  expect((await ask(open, 'POST /api/tokens', root)).status).toBe(201)
  expect((await watcher.closed).code).toBe(4401)
  expect((await ask(open, 'GET /api/runs')).status).toBe(401)
  await open.stop()
})
