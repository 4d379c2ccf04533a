import { once } from 'node:events'
import { expect } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import type { StandIn } from '../support/eventstore-stand-in/index.ts'
import { answered, bash, printed, type SiteServer, until } from '../support/site.ts'
import { test } from '../support/test.ts'

/** Reaches its goal at once, except in a project named WAITS. */
const script: Script = ({ turn, messages }) => {
  const waits = messages.some(({ content }) => content.includes('WAITS')) && turn === 0
  return bash(waits ? 'true' : 'touch done')
}

/** A server whose store holds another log ends so that it is started again. */
async function ended({ process }: SiteServer): Promise<void> {
  const [code] = process.exitCode === null ? await once(process, 'exit') : [process.exitCode]
  expect(code).toBe(75)
}

/** The store goes away and comes back with another log. */
async function replace(standIn: StandIn, backup: StandIn['log']['all']): Promise<void> {
  await standIn.faults.down()
  standIn.log.restore(backup)
  await standIn.faults.up()
}

test('a store that comes back empty is noticed, and the server ends, and begins with that log when it is started again', async ({
  site,
}) => {
  const store = await site.standIn()
  const options = { model: await site.model(script), store }
  const before = await site.serve('data', options)
  const lost = await before.start('lost')
  await before.untilStatus(lost, 'achieved')
  const waiting = await before.start('WAITS', { hitl_enabled: true })
  await before.untilStatus(waiting, 'awaiting_human')
  const observer = before.watch(waiting)
  await observer.have(1)

  await replace(store, [])

  // Its observers are disconnected, and learn that it is gone when they come back.
  expect(await observer.closed).toMatchObject({
    code: 1001,
    reason: expect.stringContaining('came back with another log'),
  })
  await ended(before)
  const server = await site.serve('data', options)
  await until(
    () => server.get('/api/runs'),
    ({ body }) => Number(body.length) === 0,
  )
  expect(await server.watch(waiting).closed).toMatchObject({ code: 4404 })
  expect((await server.get(`/api/runs/${lost}`)).status).toBe(404)
  const approved = await server.post(`/api/runs/${waiting}/resume`, { decision: 'approve' })
  expect(approved.status).toBe(404)
  await server.untilStatus(await server.start('new'), 'achieved')
})

test('a store that comes back with an older backup ends a server with an observer and a run at work, which begins with that log when it is started again', async ({
  site,
}) => {
  const store = await site.standIn()
  let turns = 0
  const model = await site.model(() => {
    turns += 1
    return bash(`test -e go && touch done; echo ${turns}; sleep 0.1`)
  })
  const before = await site.serve('data', { model, store })
  const busy = await before.start('busy', { max_iterations: 400 })
  const observer = before.watch(busy)
  await observer.have(20)
  const backup = [...store.log.all]
  await observer.have(40)

  await replace(store, backup)

  expect((await observer.closed).code).toBe(1001)
  await ended(before)
  await site.write('busy/go', '')
  const again = await site.serve('data', { model, store })
  await again.untilReady()
  await again.untilStatus(busy, 'achieved')
  await printed(['verify', '--server', again.url])
})

test('a store that comes back with the same log ends nothing', async ({ site }) => {
  const store = await site.standIn()
  const server = await site.serve('data', { model: await site.model(script), store })
  const waiting = await server.start('WAITS', { hitl_enabled: true })
  await server.untilStatus(waiting, 'awaiting_human')
  const observer = server.watch(waiting)
  await observer.have(1)
  await replace(store, [...store.log.all])
  await server.untilStatus(await server.start('later'), 'achieved')
  expect(observer.socket.readyState).toBe(observer.socket.OPEN)
  const approved = await server.post(`/api/runs/${waiting}/resume`, { decision: 'approve' })
  expect(approved.status).toBe(200)
})

test('a store that comes back and lacks only a token and a redaction is noticed, and both are gone', async ({
  site,
}) => {
  const store = await site.standIn()
  const { server: before, runId, model } = await site.used(script, { store })
  const backup = [...store.log.all]
  const redaction = { seq: 0, pointer: '/system_prompt', reason: 'a password', secret: null }
  expect((await before.post(`/api/runs/${runId}/redact`, redaction)).status).toBe(200)
  await before.retrai('token', 'create', 'ada', '--role', 'admin')
  await until(() => before.get('/api/runs'), answered(401))

  await replace(store, backup)

  await ended(before)
  const server = await site.serve('data', { model, store })
  const redactions = await server.get(`/api/runs/${runId}/redactions`)
  expect(redactions).toMatchObject({ status: 200, body: [] })
})
