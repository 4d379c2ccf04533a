import { randomUUID } from 'node:crypto'
import dns from 'node:dns'
import { readdir, readFile, stat } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { errAsync } from 'neverthrow'
import { Webhook } from 'standardwebhooks'
import { expect, onTestFinished, vi } from 'vitest'
import type { NewWebhookView, WebhookView } from '../../src/api/webhooks.ts'
import { createClient } from '../../src/client/index.ts'
import { ALL_KINDS } from '../../src/domain/records.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { storeWith } from '../../src/store/event-store.ts'
import { WEBHOOK_LEDGER } from '../../src/webhooks/ledger.ts'
import { recordsOf } from '../support/requests.ts'
import { createdRecord } from '../support/run-records.ts'
import { CLAIM, iteration, RunWriter, type TestServer } from '../support/server.ts'
import { until } from '../support/site.ts'
import { test as base } from '../support/test.ts'
import { seqsByRun, startReceiver } from './receiver.ts'

const hooks = (server: TestServer) => createClient({ baseUrl: server.url }).webhooks

const create = async (
  server: TestServer,
  wanted: Parameters<ReturnType<typeof hooks>['create']>[0],
): Promise<NewWebhookView> => (await hooks(server).create(wanted))._unsafeUnwrap()

/** Resolves to what a webhook is like when it is like this. */
const untilLike = (server: TestServer, { id }: { id: string }, wanted: Partial<WebhookView>) =>
  until(
    async () => (await hooks(server).get(id))._unsafeUnwrap(),
    (view) => Object.entries(wanted).every(([name, value]) => Reflect.get(view, name) === value),
  )

/** `leap` lets so many seconds pass for the pauses of a server that `start` has started. */
const test = base.extend('timed', async ({ startServer }, { onCleanup }) => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true })
  onCleanup(() => void vi.useRealTimers())
  let offset = 0
  return {
    start: () => startServer({ clock: () => Date.now() / 1000 + offset }),
    leap: async (seconds: number) => {
      offset += seconds
      await vi.advanceTimersByTimeAsync(10_000)
    },
  }
})

/** A run that reaches its goal. @returns its id */
async function playRun(server: TestServer, body = {}): Promise<string> {
  const runId = await server.createRun(body)
  await server.agentDoes(runId, CLAIM, ...iteration(true))
  return runId
}

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
  const records = await recordsOf(server, runId)
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
  await untilLike(server, webhook, { delivered: 1, pending: 0 })
  expect(receiver.all).toHaveLength(1)
  const [tried] = (await hooks(server).deliveries(webhook.id))._unsafeUnwrap()
  expect(tried).toMatchObject({
    webhook_id: id,
    run_id: runId,
    attempt: 1,
    status: 204,
    error: null,
  })

  const from = webhook.cursor ?? ''
  const again = await create(server, { url: receiver.url, kinds: ['run_created'], from })
  await receiver.untilTaken(2)
  expect(receiver.taken[1]).toMatchObject({ type: 'run_created', data: { run_id: runId, seq: 0 } })
  expect((await hooks(server).delete(again.id))._unsafeUnwrap().id).toBe(again.id)
  const gone = (await hooks(server).get(again.id))._unsafeUnwrapErr()
  expect(gone).toMatchObject({ code: 'webhook_not_found' })
})

test('records of a run come in their order, and what is not taken holds up its run alone', async ({
  timed: { start, leap },
}) => {
  const server = await start()
  const runs: string[] = []
  for (let n = 0; n < 12; n += 1) runs.push(await playRun(server))
  const refused = runs[3] ?? ''
  const receiver = await startReceiver(({ data }) => (data.run_id === refused ? 503 : 200))
  const all = { url: receiver.url, kinds: [...ALL_KINDS], from: 'start' }
  const webhook = await create(server, all)
  const lengthOf = async (runId: string) => (await recordsOf(server, runId)).length
  const retrying = await untilLike(server, webhook, { pending: await lengthOf(refused) })
  expect(retrying).toMatchObject({ state: 'retrying', last_error: 'It answered 503.' })
  expect(Date.parse(retrying.next_try ?? '')).toBeGreaterThan(0)
  expect(seqsByRun(receiver.taken).size).toBe(runs.length - 1)
  receiver.answer = () => 200
  await leap(10)
  const active = await untilLike(server, webhook, { state: 'active', pending: 0 })
  expect(active.last_error).toBeNull()
  const taken = seqsByRun(receiver.taken)
  for (const runId of runs) {
    expect(taken.get(runId)).toEqual(Array.from({ length: await lengthOf(runId) }, (_, seq) => seq))
  }
  // The first record of the refused run was tried more than once, each time with the same id.
  const tries = receiver.all.filter(({ data }) => data.run_id === refused && data.seq === 0)
  expect(tries.length).toBeGreaterThan(1)
  expect(new Set(tries.map(({ id }) => id)).size).toBe(1)
})

test('410 stops a webhook, and so does a delivery that is not received for 72 hours; nothing is skipped', async ({
  timed: { start, leap },
}) => {
  const server = await start()
  const receiver = await startReceiver(() => 410)
  const webhook = await create(server, { url: receiver.url })
  await playRun(server)
  const stopped = await untilLike(server, webhook, { state: 'stopped' })
  const last_error = expect.stringContaining('410')
  expect(stopped).toMatchObject({ pending: 1, next_try: null, last_error })
  await playRun(server)
  await untilLike(server, webhook, { pending: 2 })
  expect(receiver.all).toHaveLength(1)

  receiver.answer = () => 500
  ;(await hooks(server).resume(webhook.id))._unsafeUnwrap()
  await untilLike(server, webhook, { state: 'retrying' })
  await leap(73 * 3600)
  const later = await untilLike(server, webhook, { state: 'stopped' })
  expect(later.last_error).toContain('72 hours')
  receiver.answer = () => 200
  ;(await hooks(server).resume(webhook.id))._unsafeUnwrap()
  await untilLike(server, webhook, { state: 'active', pending: 0, delivered: 2 })

  const options = { from: 0, direction: 'forward', limit: 9 } as const
  const ledger = (await server.store.readStream(WEBHOOK_LEDGER.stream, options))._unsafeUnwrap()
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
  const error = expect.stringContaining('redirect')
  expect(tested).toMatchObject({ status: 307, error, answer: 'Noted' })
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
  ['hooks.example.org', 'must be an address, such as https://'],
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

test('a filter chooses runs by project, person and tag, and sub-agents come with their parent', async ({
  ownServer: server,
}) => {
  const receiver = await startReceiver()
  const wanted = { url: receiver.url, kinds: ['run_created' as const] }
  for (const run of [
    { project: 'billing', principal: 'test' },
    { project: 'billing', principal: 'grace' },
    { tag: 'nightly' },
  ]) {
    await create(server, { ...wanted, run })
  }
  const parent = randomUUID()
  const child = randomUUID()
  const last = randomUUID()
  const of = { call_id: 'c1', seq: 1, hash: 'a'.repeat(64), depth: 1, run_id: parent }
  for (const [runId, cwd] of [
    [parent, '/home/ada/billing'],
    [child, '/tmp/copy'],
    [last, '/home/ada/other'],
  ] as const) {
    const record = createdRecord(runId, { cwd, ...(runId === last && { tags: ['nightly'] }) })
    if (runId === child) Object.assign(record.payload, { parent: of })
    await new RunWriter(server.store, runId).append([record])
  }
  await receiver.untilTaken(3)
  await until(
    async () => (await hooks(server).list())._unsafeUnwrap(),
    (all) => new Set(all.map(({ cursor }) => cursor)).size === 1,
  )
  expect(receiver.taken.map(({ data }) => data.run_id).toSorted()).toEqual(
    [parent, child, last].toSorted(),
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
  await untilLike(server, webhook, { state: 'retrying' })
  removed = streamOf(runId)
  receiver.answer = () => 200
  ;(await hooks(server).resume(webhook.id))._unsafeUnwrap()
  await receiver.untilTaken(1)
  expect(receiver.taken[0]).toMatchObject({
    type: 'run_end',
    data: { run_id: runId, status: 'removed' },
  })
})
