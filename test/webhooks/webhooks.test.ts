import dns from 'node:dns'
import { readdir, readFile, stat } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { errAsync } from 'neverthrow'
import { Webhook } from 'standardwebhooks'
import { expect, onTestFinished } from 'vitest'
import type { NewWebhookView, WebhookView } from '../../src/api/webhooks.ts'
import { createClient } from '../../src/client/index.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { readRecords, streamOf } from '../../src/log/run-log.ts'
import { storeWith } from '../../src/store/event-store.ts'
import { WEBHOOK_LEDGER } from '../../src/webhooks/ledger.ts'
import { createdRecord } from '../support/run-records.ts'
import { CLAIM, iteration, RunWriter, type TestServer } from '../support/server.ts'
import { until } from '../support/site.ts'
import { test } from '../support/test.ts'
import { seqsByRun, startReceiver } from './receiver.ts'

const hooks = (server: TestServer) => createClient({ baseUrl: server.url }).webhooks

const create = async (
  server: TestServer,
  wanted: Parameters<ReturnType<typeof hooks>['create']>[0],
): Promise<NewWebhookView> => (await hooks(server).create(wanted))._unsafeUnwrap()

const viewOf = async (server: TestServer, { id }: Pick<WebhookView, 'id'>): Promise<WebhookView> =>
  (await hooks(server).get(id))._unsafeUnwrap()

const untilState = (server: TestServer, webhook: WebhookView, state: WebhookView['state']) =>
  until(
    () => viewOf(server, webhook),
    (view) => view.state === state,
  )

/** A run that reaches its goal. @returns its id */
async function playRun(server: TestServer, body = {}): Promise<string> {
  const runId = await server.createRun(body)
  await server.agentDoes(runId, CLAIM, ...iteration(true))
  return runId
}

const PARENT = { call_id: 'c1', seq: 1, hash: 'a'.repeat(64), depth: 1 }
const subagentOf = (record: RunRecord, parent: string): RunRecord =>
  record.kind === 'run_created'
    ? {
        ...record,
        payload: { ...record.payload, parent: { ...PARENT, run_id: parent } },
      }
    : record

const ALL = [
  'run_created',
  'run_claimed',
  'step_start',
  'goal_check',
  'iteration_complete',
  'run_end',
] as const

test('a delivery says which record, signed, and never what is in it; the default is what needs a person or ends a run', async ({
  ownServer: server,
}) => {
  await playRun(server)
  const receiver = await startReceiver()
  const webhook = await create(server, { url: receiver.url })
  expect(webhook).toMatchObject({ state: 'active', run: {}, delivered: 0, url: receiver.url })
  expect(webhook.kinds).toEqual([
    'human_check_required',
    'approval_required',
    'run_paused',
    'run_end',
  ])
  const runId = await playRun(server)
  await receiver.untilTaken(1)
  const [delivery] = receiver.taken
  if (delivery === undefined) throw new Error('nothing was delivered')
  const { id, headers, body } = delivery
  const records = (await readRecords(server.store, runId, 0, 99))._unsafeUnwrap()
  const end = records.find(({ record }) => record.kind === 'run_end')
  expect(JSON.parse(body)).toEqual({
    type: 'run_end',
    timestamp: new Date((end?.record.ts ?? 0) * 1000).toISOString(),
    data: { run_id: runId, seq: end?.seq, hash: end?.meta.hash, status: 'achieved' },
  })
  const verifier = new Webhook(webhook.secret)
  const signed = {
    'webhook-id': id,
    'webhook-timestamp': String(headers['webhook-timestamp']),
    'webhook-signature': String(headers['webhook-signature']),
  }
  expect(verifier.verify(body, signed)).toMatchObject({ type: 'run_end' })
  expect(() => verifier.verify(body.replace('achieved', 'failed'), signed)).toThrow()
  await until(
    () => viewOf(server, webhook),
    ({ delivered, pending }) => delivered === 1 && pending === 0,
  )
  expect(receiver.all).toHaveLength(1)
  const [tried] = (await hooks(server).deliveries(webhook.id))._unsafeUnwrap()
  expect(tried).toMatchObject({
    webhook_id: id,
    run_id: runId,
    attempt: 1,
    status: 204,
    error: null,
  })

  const again = await create(server, {
    url: receiver.url,
    kinds: ['run_created'],
    from: webhook.cursor ?? '',
  })
  await receiver.untilTaken(2)
  expect(receiver.taken[1]).toMatchObject({ type: 'run_created', data: { run_id: runId, seq: 0 } })
  const gone = (await hooks(server).delete(again.id))._unsafeUnwrap()
  expect(gone.id).toBe(again.id)
  expect((await hooks(server).get(again.id))._unsafeUnwrapErr()).toMatchObject({
    code: 'webhook_not_found',
  })
})

test('records of a run come in their order, and what is not taken holds up its run alone', async ({
  ownServer: server,
}) => {
  const runs: string[] = []
  for (let n = 0; n < 12; n += 1) runs.push(await playRun(server))
  const refused = runs[3] ?? ''
  const receiver = await startReceiver()
  receiver.answer = ({ data }) => (data.run_id === refused && receiver.all.length < 40 ? 503 : 200)
  const webhook = await create(server, { url: receiver.url, kinds: [...ALL], from: 'start' })
  const each = seqsByRun(receiver.taken)
  const total = await until(
    async () => (await viewOf(server, webhook)).pending,
    (pending) => pending > 0,
  )
  expect(each.get(refused)).toBeUndefined()
  const retrying = await untilState(server, webhook, 'retrying')
  expect(retrying.last_error).toBe('It answered 503.')
  expect(Date.parse(retrying.next_try ?? '')).toBeGreaterThan(0)
  const others = await until(
    () => seqsByRun(receiver.taken),
    (taken) => taken.size === runs.length - 1 && (taken.get(runs[11] ?? '')?.length ?? 0) > 5,
  )
  expect(others.has(refused)).toBe(false)
  await until(
    () => viewOf(server, webhook),
    ({ pending }) => pending === 0,
  )
  expect(total).toBeGreaterThan(0)
  const taken = seqsByRun(receiver.taken)
  expect([...taken.keys()].toSorted()).toEqual(runs.toSorted())
  for (const seqs of taken.values()) expect(seqs).toEqual(seqs.toSorted((a, b) => a - b))
  // The first record of the refused run was tried more than once, each time with the same id.
  const tries = receiver.all.filter(({ data }) => data.run_id === refused && data.seq === 0)
  expect(tries.length).toBeGreaterThan(1)
  expect(new Set(tries.map(({ id }) => id)).size).toBe(1)
  expect((await untilState(server, webhook, 'active')).last_error).toBeNull()
})

test('after an outage of the receiver, all is delivered by itself; meanwhile one delivery at a time is tried', async ({
  ownServer: server,
}) => {
  const receiver = await startReceiver()
  const webhook = await create(server, { url: receiver.url })
  await receiver.close()
  const runs: string[] = []
  for (let n = 0; n < 5; n += 1) runs.push(await playRun(server))
  const view = await untilState(server, webhook, 'retrying')
  expect(view.last_error).toContain('ECONNREFUSED')
  let atOnce = 0
  let most = 0
  receiver.answer = async () => {
    atOnce += 1
    most = Math.max(most, atOnce)
    await setImmediate()
    atOnce -= 1
    return receiver.all.length < 3 ? 500 : 200
  }
  await receiver.reopen()
  await receiver.untilTaken(5)
  expect([...seqsByRun(receiver.taken).keys()].toSorted()).toEqual(runs.toSorted())
  expect(most).toBeLessThan(5)
  await untilState(server, webhook, 'active')
})

test('410 stops a webhook, and so does a delivery that is not received for 72 hours; nothing is skipped', async ({
  startServer,
}) => {
  let offset = 0
  const server = await startServer({ clock: () => Date.now() / 1000 + offset })
  const receiver = await startReceiver(() => 410)
  const webhook = await create(server, { url: receiver.url })
  await playRun(server)
  const stopped = await untilState(server, webhook, 'stopped')
  expect(stopped).toMatchObject({
    pending: 1,
    next_try: null,
    last_error: expect.stringContaining('410'),
  })
  await playRun(server)
  await until(
    () => viewOf(server, webhook),
    ({ pending }) => pending === 2,
  )
  expect(receiver.all).toHaveLength(1)

  receiver.answer = () => 500
  ;(await hooks(server).resume(webhook.id))._unsafeUnwrap()
  await untilState(server, webhook, 'retrying')
  offset = 73 * 3600
  ;(await hooks(server).test(webhook.id))._unsafeUnwrap()
  const later = await untilState(server, webhook, 'stopped')
  expect(later.last_error).toContain('72 hours')
  receiver.answer = () => 200
  ;(await hooks(server).resume(webhook.id))._unsafeUnwrap()
  await until(
    () => viewOf(server, webhook),
    ({ state, pending, delivered }) => state === 'active' && pending === 0 && delivered === 2,
  )

  const ledger = (
    await server.store.readStream(WEBHOOK_LEDGER.stream, {
      from: 0,
      direction: 'forward',
      limit: 9,
    })
  )._unsafeUnwrap()
  expect(ledger.map(({ type }) => type.replace('webhook_', ''))).toEqual([
    'created',
    'stopped',
    'resumed',
    'stopped',
    'resumed',
  ])
  expect(JSON.parse(ledger[0]?.metadata ?? '')).toMatchObject({
    principal: 'local',
    seal: { first: 0 },
  })
  const texts = JSON.stringify(ledger)
  expect(texts).toContain(`127.0.0.1:${receiver.port}`)
  for (const secret of ['a-secret-of-the-address', webhook.secret])
    expect(texts).not.toContain(secret)
  const [file = ''] = (await readdir(server.keys)).filter((name) => name.startsWith('webhook-'))
  expect((await stat(join(server.keys, file))).mode & 0o777).toBe(0o600)
  expect(await readFile(join(server.keys, file), 'utf8')).toContain(webhook.secret)
})

test('a redirect is no receipt and is not followed, and a test answers what came back', async ({
  ownServer: server,
}) => {
  const other = await startReceiver()
  const receiver = await startReceiver(() => ({ status: 307, location: other.url }))
  const { id } = await create(server, { url: receiver.url })
  const tested = (await hooks(server).test(id))._unsafeUnwrap()
  expect(tested).toMatchObject({
    status: 307,
    error: expect.stringContaining('redirect'),
    answer: 'Noted',
  })
  expect(other.all).toEqual([])
  receiver.answer = () => 200
  expect((await hooks(server).test(id))._unsafeUnwrap()).toMatchObject({ status: 200, error: null })
  expect(receiver.all.map(({ type, data }) => [type, data])).toEqual([
    ['webhook_test', {}],
    ['webhook_test', {}],
  ])
})

test.for([
  ['http://hooks.example.org/', 'must be https'],
  ['https://10.1.2.3/', 'not an address of the public Internet'],
  ['https://[::1]/', 'not an address of the public Internet'],
  ['https://localhost/', 'not an address of the public Internet'],
  ['https://hooks.localhost/', 'not an address of the public Internet'],
  ['https://167838211/', 'not an address of the public Internet'],
  ['https://ada:pw@hooks.example.org/', 'user name'],
  ['ftp://hooks.example.org/', 'https:// URL'],
])('%s is refused: %s', async ([url = '', why = ''], { server }) => {
  const refused = (await hooks(server).create({ url }))._unsafeUnwrapErr()
  expect(refused).toMatchObject({ status: 422, message: expect.stringContaining(why) })
})

test('a name that turns private is refused when a connection is made', async ({ server }) => {
  const receiver = await startReceiver()
  const { lookup } = dns
  onTestFinished(() => {
    dns.lookup = lookup
    syncBuiltinESMExports()
  })
  dns.lookup = ((_: string, __: object, done: (...found: unknown[]) => void) =>
    done(null, [{ address: '127.0.0.1', family: 4 }])) as never
  syncBuiltinESMExports()
  const url = `https://hooks.example.org:${receiver.port}/`
  const { id } = await create(server, { url })
  const tested = (await hooks(server).test(id))._unsafeUnwrap()
  expect(tested.error).toContain('hooks.example.org leads to 127.0.0.1')
  expect(tested.error).toContain('RETRAI_WEBHOOK_HOSTS')
  expect(receiver.all).toEqual([])
})

test('a filter chooses runs by project and person, and sub-agents come with their parent', async ({
  ownServer: server,
}) => {
  const receiver = await startReceiver()
  const { url } = receiver
  const parent = crypto.randomUUID()
  const child = crypto.randomUUID()
  await create(server, {
    url,
    kinds: ['run_created'],
    run: { project: 'billing', principal: 'test' },
  })
  await create(server, {
    url,
    kinds: ['run_created'],
    run: { project: 'billing', principal: 'grace' },
  })
  await create(server, { url, kinds: ['run_created'], run: { tag: 'nightly' } })
  await new RunWriter(server.store, parent).append([
    createdRecord(parent, { cwd: '/home/ada/billing' }),
  ])
  await new RunWriter(server.store, child).append([
    subagentOf(createdRecord(child, { cwd: '/tmp/copy' }), parent),
  ])
  const last = crypto.randomUUID()
  await new RunWriter(server.store, last).append([createdRecord(last, { cwd: '/home/ada/other' })])
  await receiver.untilTaken(2)
  await until(
    async () => (await hooks(server).list())._unsafeUnwrap(),
    (all) => new Set(all.map(({ cursor }) => cursor)).size === 1,
  )
  expect(receiver.taken.map(({ data }) => data.run_id).toSorted()).toEqual(
    [parent, child].toSorted(),
  )
})

test('a record that was removed before it was delivered is delivered as removed', async ({
  startServer,
}) => {
  let removed = ''
  const server = await startServer({
    wrapStore: (store) =>
      storeWith(store, {
        readStream: (stream, options) =>
          stream === removed
            ? errAsync({ type: 'stream_not_found', stream })
            : store.readStream(stream, options),
      }),
  })
  const receiver = await startReceiver(() => 500)
  const webhook = await create(server, { url: receiver.url })
  const runId = await playRun(server)
  await untilState(server, webhook, 'retrying')
  removed = streamOf(runId)
  receiver.answer = () => 200
  ;(await hooks(server).resume(webhook.id))._unsafeUnwrap()
  await receiver.untilTaken(1)
  expect(receiver.taken[0]).toMatchObject({
    type: 'run_end',
    data: { run_id: runId, status: 'removed' },
  })
})
