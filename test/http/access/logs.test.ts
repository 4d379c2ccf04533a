import { expect, test } from 'vitest'
import type { WebSocket } from 'ws'
import { logger, rawRequest } from '../../support/server.ts'
import { Watcher } from '../live/watcher.ts'
import { bearer, call, runOf, startWithPeople } from './people.ts'

/** Opens a socket, accepted or refused, and closes it. */
async function settled(socket: WebSocket): Promise<void> {
  await new Promise<void>((resolve) => {
    if (socket.readyState !== socket.CONNECTING) resolve()
    socket.once('open', resolve).once('close', resolve)
  })
  socket.terminate()
}

test('no log line holds a secret', async () => {
  const log = logger('trace')
  const people = await startWithPeople({ logger: log.logger })
  const { server, secrets, revoked } = people
  const runId = await runOf(people, secrets.admin)
  const getTicket = async () =>
    (await call<{ ticket: string }>(people, secrets.viewer, 'POST /api/tickets')).ticket
  const used = await getTicket()
  const unused = await getTicket()
  const offered = await getTicket()
  const fresh = { name: 'fresh', role: 'viewer' }
  const made = await call<{ secret: string }>(people, secrets.admin, 'POST /api/tokens', fresh)

  const paths = [
    `/api/runs?token=${secrets.admin}`,
    `/api/runs?x=${secrets.viewer}&y=1`,
    `/api/runs/${secrets.viewer}`,
    `/api/nothing/${secrets.viewer}?ticket=${unused}`,
    `/api/runs?limit=1&ticket=${unused}&goal=pytest`,
  ]
  for (const path of paths) {
    await rawRequest(server, { path })
    await rawRequest(server, { path, headers: bearer(revoked) })
    await rawRequest(server, { path, headers: bearer(secrets.operator) })
  }
  const watchers = [
    new Watcher(server, `${runId}?kinds=all&ticket=${used}`),
    new Watcher(server, `${runId}?kinds=all&ticket=${used}`),
    new Watcher(server, runId, {}, ['retrai', `retrai.ticket.${offered}`]),
    new Watcher(server, runId, {}, [
      `retrai.bearer.${Buffer.from(secrets.viewer).toString('base64url')}`,
    ]),
  ]
  await watchers[0]?.have(1)
  for (const { socket } of watchers) await settled(socket)
  await server.stop()
  const text = log.written()

  expect(text).toContain('request completed')
  expect(text).toContain('upgrade requested')
  expect(text).toContain(`/api/ws/${runId}?kinds=all&ticket=[removed]`)
  expect(text).toContain('/api/runs?limit=1&ticket=[removed]&goal=pytest')
  const inBase64 = Buffer.from(secrets.viewer).toString('base64url')
  const hidden = [...Object.values(secrets), revoked, made.secret].map((each) => each.slice(7))
  for (const secret of [...hidden, used, unused, offered, inBase64]) {
    expect(text.includes(secret), secret).toBe(false)
  }
})
