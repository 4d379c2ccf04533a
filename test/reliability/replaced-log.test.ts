import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { retrai } from '../cli/support.ts'
import type { StandIn } from '../support/eventstore-stand-in/index.ts'
import { get, post, runIn, Site, start, until, untilReady, untilStatus, watch } from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(async () => {
  await site[Symbol.asyncDispose]()
})

/** Reaches its goal at once, except in a project named WAITS. */
const script: Script = ({ turn, messages }) => {
  const waits = messages.some(({ content }) => content.includes('WAITS')) && turn === 0
  return { calls: [{ tool: 'bash_exec', args: { command: waits ? 'true' : 'touch done' } }] }
}

/** The store goes away and comes back with another log. */
async function replace(standIn: StandIn, backup: StandIn['log']['all']): Promise<void> {
  await standIn.faults.down()
  standIn.log.restore(backup)
  await standIn.faults.up()
}

const cases = [
  ['an older backup', (backup: StandIn['log']['all']) => backup, 1],
  ['an empty log', () => [], 0],
] as const

test.each(cases)(
  'a store that comes back with %s is noticed, and the server starts over',
  async (_, restored, left) => {
    const standIn = await site.standIn()
    const model = await site.model(script)
    const args = ['--store', standIn.connectionString]
    const server = await site.serve('data', { model: model.url, args })
    const kept = await start(server, await site.project('kept'))
    await untilStatus(server, kept, 'achieved')
    const backup = [...standIn.log.all]
    const lost = await start(server, await site.project('lost'))
    await untilStatus(server, lost, 'achieved')
    const waiting = await start(server, await site.project('WAITS'), { hitl_enabled: true })
    await untilStatus(server, waiting, 'awaiting_human')
    const observer = watch(server, waiting)
    await observer.have(1)

    await replace(standIn, restored(backup))

    // Its observers are disconnected, and learn that it is gone when they come back.
    expect(await observer.closed).toMatchObject({
      code: 1001,
      reason: expect.stringContaining('came back with another log'),
    })
    const listed = await until(
      () => get(server, '/api/runs').catch(() => null),
      (answer) => answer?.status === 200 && Number(answer.body.length) === left,
    )
    expect(listed?.body).toMatchObject(left === 0 ? [] : [{ run_id: kept }])
    const { body } = await untilReady(server)
    expect(body).toMatchObject({
      checks: { log: { ok: true, detail: expect.stringContaining('started over from it') } },
    })
    expect(await watch(server, waiting).closed).toMatchObject({ code: 4404 })
    expect((await get(server, `/api/runs/${lost}`)).status).toBe(404)
    expect(
      (await post(server, `/api/runs/${waiting}/resume`, { decision: 'approve' })).status,
    ).toBe(404)
    const created = await post(server, '/api/runs', runIn(await site.project('new')))
    expect(created.status).toBe(201)
    await untilStatus(server, String(created.body.run_id), 'achieved')
  },
)

test.each([
  ['an older backup', (backup: StandIn['log']['all']) => backup],
  ['an empty log', () => []],
])('two servers with observers and a run at work start over from %s', async (_, restored) => {
  const standIn = await site.standIn()
  const model = await site.model(() => ({
    calls: [{ tool: 'bash_exec', args: { command: 'test -e go && touch done; sleep 0.1' } }],
  }))
  const options = { model: model.url, args: ['--store', standIn.connectionString] }
  const servers = [await site.serve('one', options), await site.serve('two', options)] as const
  const [one] = servers
  const project = await site.project('busy')
  const busy = await start(one, project, { max_iterations: 400 })
  for (const server of servers) await untilStatus(server, busy, 'running')
  await watch(one, busy).have(20)
  const backup = [...standIn.log.all]
  const observers = servers.map((server) => watch(server, busy))
  await Promise.all(observers.map((observer) => observer.have(40)))

  await replace(standIn, restored(backup))

  for (const observer of observers) expect((await observer.closed).code).toBe(1001)
  await writeFile(join(project, 'go'), '')
  const isLeft = restored(backup).length > 0
  for (const server of servers) {
    await until(
      () => get(server, '/health/ready').catch(() => null),
      (answer) => answer?.status === 200,
    )
    if (isLeft) await untilStatus(server, busy, 'achieved')
    else expect((await get(server, `/api/runs/${busy}`)).status).toBe(404)
    const verified = await retrai(['verify', '--server', server.url])
    expect(verified, verified.stdout).toMatchObject({ code: 0 })
  }
})

test('a store that comes back with the same log restarts nothing', async () => {
  const standIn = await site.standIn()
  const model = await site.model(script)
  const server = await site.serve('data', {
    model: model.url,
    args: ['--store', standIn.connectionString],
  })
  const waiting = await start(server, await site.project('WAITS'), { hitl_enabled: true })
  await untilStatus(server, waiting, 'awaiting_human')
  const observer = watch(server, waiting)
  await observer.have(1)
  await replace(standIn, [...standIn.log.all])
  const later = await start(server, await site.project('later'))
  await untilStatus(server, later, 'achieved')
  expect(observer.socket.readyState).toBe(observer.socket.OPEN)
  expect((await post(server, `/api/runs/${waiting}/resume`, { decision: 'approve' })).status).toBe(
    200,
  )
})

test('a store that comes back and lacks only a token and a redaction is noticed, and both are gone', async () => {
  const standIn = await site.standIn()
  const model = await site.model(script)
  const args = ['--store', standIn.connectionString]
  const server = await site.serve('data', { model: model.url, args })
  const runId = await start(server, await site.project('one'))
  await untilStatus(server, runId, 'achieved')
  const backup = [...standIn.log.all]
  const redaction = { seq: 0, pointer: '/system_prompt', reason: 'a password', secret: null }
  expect((await post(server, `/api/runs/${runId}/redact`, redaction)).status).toBe(200)
  const token = await retrai(['token', 'create', 'ada', '--role', 'admin', ...args])
  expect(token.code, token.stderr).toBe(0)
  await until(
    () => get(server, '/api/runs'),
    ({ status }) => status === 401,
  )

  await replace(standIn, backup)

  const redactions = await until(
    () => get(server, `/api/runs/${runId}/redactions`).catch(() => null),
    (answer) => answer?.status === 200,
  )
  expect(redactions?.body).toEqual([])
  const { body } = await untilReady(server)
  expect(body).toMatchObject({
    checks: { log: { detail: expect.stringMatching(/ledger retrai-(tokens|redactions|access)/) } },
  })
})
