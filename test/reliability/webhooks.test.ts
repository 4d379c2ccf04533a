import { expect } from 'vitest'
import { bash, is, until } from '../support/site.ts'
import { test } from '../support/test.ts'
import { expectAll, seedRuns, serve, subscribe } from '../webhooks/killed-server.ts'
import { startReceiver } from '../webhooks/receiver.ts'

test.for(['before', 'after'] as const)(
  'a server that is killed %s its delivery is answered delivers it again',
  async (when, { site }) => {
    const runs = await seedRuns(site, 3, 2)
    let server = await serve(site)
    const receiver = await startReceiver(async () => {
      if (when === 'before') await server.kill()
      else setImmediate(() => server.kill())
      receiver.answer = () => 200
      return 200
    })
    await subscribe(server, receiver)
    await until(() => server.process.signalCode, is('SIGKILL'))
    const before = receiver.all.length
    expect(before).toBeGreaterThan(0)
    server = await serve(site)
    const total = [...runs.values()].reduce((sum, length) => sum + length, 0)
    await until(
      async () => JSON.parse((await server.get('/api/webhooks')).text)[0],
      (view) => view?.pending === 0 && view.delivered === total,
    )
    expectAll(receiver.taken, runs)
    // What was under way when the server was killed came again, under the same id.
    if (when === 'before') expect(receiver.all.length).toBeGreaterThan(total)
    expect(new Set(receiver.all.map(({ id }) => id)).size).toBe(total)
  },
)

test('a server that starts while its EventStoreDB is away delivers everything once that is back', async ({
  site,
}) => {
  const store = await site.standIn()
  const model = await site.model([bash('touch done')])
  let server = await serve(site, { model, store })
  const receiver = await startReceiver()
  await subscribe(server, receiver)
  const one = await server.start('one')
  await server.untilStatus(one, 'achieved')
  await store.faults.down()
  await server.kill()
  server = await serve(site, { model, store })
  await store.faults.up()
  await server.untilReady()
  const two = await server.start('two')
  await server.untilStatus(two, 'achieved')
  const runs = new Map([one, two].map((id) => [id, store.log.events(`run-${id}`).length] as const))
  const total = [...runs.values()].reduce((sum, length) => sum + length, 0)
  await until(() => new Set(receiver.taken.map(({ id }) => id)).size, is(total))
  expectAll(receiver.taken, runs)
})

test('a person makes, tests, resumes and deletes a webhook at the command line', async ({
  site,
}) => {
  const server = await serve(site)
  await server.untilReady()
  const receiver = await startReceiver()
  const add = ['webhooks', 'add', receiver.url, '--kinds', 'run_end', '--project', 'billing']
  const added = await server.retrai(...add)
  expect(added.stdout).toMatch(/^whsec_[\w+/]{43}=\n$/)
  const list = await server.retrai('webhooks')
  expect(list.stdout).toMatch(/ active +0 +0 /)
  const id = list.stdout.split('\n')[1]?.slice(0, 8) ?? ''
  expect((await server.retrai('webhooks', 'test', id)).stdout).toMatch(/^It was received: 204/)
  receiver.answer = () => 410
  const failed = await server.retrai('webhooks', 'test', id)
  expect([failed.code, failed.stdout]).toEqual([3, 'It answered 410.\n'])
  expect((await server.retrai('webhooks', 'resume', id)).stdout).toMatch(/ resumed\n$/)
  expect((await server.retrai('webhooks', 'delete', id)).stdout).toMatch(/ deleted\n$/)
  const verified = await server.retrai('verify', '--data-dir', site.path('data'))
  expect([verified.code, verified.stderr]).toEqual([0, ''])
  expect((await server.retrai('webhooks')).stderr).toBe('There are no webhooks.\n')
  expect((await server.retrai('webhooks', 'test', id)).stderr).toContain(`begins with ${id}`)
})
