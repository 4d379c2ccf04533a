import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { EventStore, RecordedEvent } from '../../src/store/event-store.ts'
import { CLI, cleanEnv, retrai } from '../cli/support.ts'
import { append, dense, newEvent, observeAll, observeStream } from '../store/contract/support.ts'
import type { StandIn } from '../support/eventstore-stand-in/index.ts'
import {
  audit,
  get,
  openStandInStore,
  Site,
  start,
  until,
  untilReady,
  untilStatus,
  watch,
  withLog,
} from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(async () => {
  await site[Symbol.asyncDispose]()
})

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })

const copy = (from: string, to: string) => retrai(['copy', '--from', from, '--to', to])

/** A data folder with runs whose records are mixed in the log. The last run waits for a person. */
async function usedFolder(runs = 2, steps = 1) {
  const model = await site.model([
    ...dense(1, steps).map((n) => bash(`echo ${n}`)),
    bash('touch done'),
  ])
  const server = await site.serve('data', { model: model.url })
  const runIds = await Promise.all(
    dense(1, runs).map(async (n) =>
      start(server, await site.project(`project-${n}`), {
        max_iterations: 30,
        hitl_enabled: n === runs,
      }),
    ),
  )
  const waiting = runIds.at(-1) ?? ''
  for (const runId of runIds) {
    await untilStatus(server, runId, runId === waiting ? 'awaiting_human' : 'achieved')
  }
  const details = await Promise.all(
    runIds.map(async (runId) => (await get(server, `/api/runs/${runId}`)).body),
  )
  await server.stop()
  return { dataDir: site.path('data'), runIds, waiting, details, model: model.url }
}

/** All events that a subscriber to the whole log gets, without what depends on the store. */
async function wholeLog(store: EventStore) {
  const observer = observeAll(store, '')
  await observer.untilCaughtUp()
  await observer.stop()
  return observer.events.map(comparable)
}

const comparable = ({ stream, revision, id, type, data, metadata }: RecordedEvent) => ({
  stream,
  revision,
  id,
  type,
  data,
  metadata,
})

async function ofStandIn<T>(standIn: StandIn, use: (store: EventStore) => Promise<T>): Promise<T> {
  const store = await openStandInStore(standIn)
  try {
    return await use(store)
  } finally {
    await store.close()
  }
}

test('a log stays the same when it is copied to EventStoreDB and back, even with an interruption and a repetition', async () => {
  const { dataDir, runIds, waiting, details, model } = await usedFolder(6, 4)
  const standIn = await site.standIn()
  const to = standIn.connectionString
  const original = await withLog(dataDir, wholeLog)

  standIn.faults.delayMs = 3
  const child = spawn(process.execPath, [CLI, 'copy', '--from', dataDir, '--to', to], {
    env: cleanEnv(),
    stdio: 'ignore',
  })
  await until(
    async () => standIn.log.all.length,
    (length) => length > 30,
  )
  child.kill('SIGKILL')
  await once(child, 'exit')
  standIn.faults.delayMs = 0
  const interrupted = standIn.log.all.length
  expect(interrupted).toBeLessThan(original.length)

  standIn.faults.nextAppends('lose_answer', 2)
  const resumed = await copy(dataDir, to)
  expect(resumed.code, resumed.stderr).toBe(0)
  expect(resumed.stdout).toMatch(/^Done: \d+ events copied, \d+ were there already; 9 streams$/m)
  const again = await copy(dataDir, to)
  expect(again.stdout).toContain(`Done: 0 events copied, ${original.length} were there already`)
  expect(standIn.log.all).toHaveLength(original.length)
  expect(await ofStandIn(standIn, wholeLog)).toEqual(original)

  const back = await copy(to, site.path('back'))
  expect(back.stdout).toContain(`Done: ${original.length} events copied, 0 were there already`)
  expect(await withLog(site.path('back'), wholeLog)).toEqual(original)
  for (const runId of runIds.filter((id) => id !== waiting)) {
    const inTarget = await ofStandIn(standIn, (store) => audit(store, runId))
    expect(await withLog(site.path('back'), (store) => audit(store, runId))).toEqual(inTarget)
  }

  // The same server continues with the other store, in the same data folder.
  const server = await site.serve('data', { model, args: ['--store', to] })
  await untilReady(server)
  for (const [index, runId] of runIds.entries()) {
    // The new process claims the run that waits, which adds a record.
    const { body } = await get(server, `/api/runs/${runId}`)
    const changed = runId === waiting ? { progress: body.progress } : {}
    expect(body).toEqual({ ...details[index], ...changed })
  }
  const watcher = watch(server, waiting)
  const answer = await fetch(`${server.url}/api/runs/${waiting}/resume`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"decision":"abort"}',
  })
  expect(answer.status).toBe(200)
  expect(await watcher.closed).toMatchObject({ code: 1000 })
})

test('a log is copied while a server writes to it, and the rest after the server has stopped', async () => {
  const model = await site.model([...dense(0, 5).map((n) => bash(`echo ${n}`)), bash('touch done')])
  const server = await site.serve('data', { model: model.url })
  const runId = await start(server, await site.project(), { max_iterations: 30 })
  await watch(server, runId).have(20)
  const first = await copy(site.path('data'), site.path('copy'))
  expect(first.code, first.stderr).toBe(0)
  await untilStatus(server, runId, 'achieved')
  await server.stop()
  expect((await copy(site.path('data'), site.path('copy'))).code).toBe(0)
  expect(await withLog(site.path('copy'), wholeLog)).toEqual(
    await withLog(site.path('data'), wholeLog),
  )
})

test('a target with other content is refused, and stays unchanged', async () => {
  const { dataDir, runIds } = await usedFolder()
  const own = await site.serve('own')
  await own.stop()
  const before = await withLog(site.path('own'), wholeLog)
  const foreign = await copy(dataDir, site.path('own'))
  expect(foreign.code).toBe(3)
  expect(foreign.stderr).toContain('already holds another log')
  expect(await withLog(site.path('own'), wholeLog)).toEqual(before)

  // In the source, tokens may come before what names the log.
  await mkdir(site.path('tokens'))
  await withLog(site.path('tokens'), (store) => append(store, 'retrai-tokens', [newEvent()]))
  const tokens = await copy(site.path('tokens'), site.path('own'))
  expect(tokens.stderr).toContain('already holds another log')
  expect(await withLog(site.path('own'), wholeLog)).toEqual(before)

  const stream = `run-${runIds[0]}`
  await cp(dataDir, site.path('other'), { recursive: true })
  await withLog(dataDir, (store) => append(store, stream, [newEvent()]))
  const written = await withLog(site.path('other'), (store) => append(store, stream, [newEvent()]))
  const refused = await copy(dataDir, site.path('other'))
  expect(refused.code).toBe(3)
  expect(refused.stderr).toContain(
    `${stream} of the target holds another event at revision ${written}`,
  )
})

test('streams of other programs in an EventStoreDB are not copied', async () => {
  const { dataDir } = await usedFolder()
  const standIn = await site.standIn()
  await ofStandIn(standIn, (store) => append(store, 'invoice-1', [newEvent(), newEvent()]))
  expect((await copy(dataDir, standIn.connectionString)).code).toBe(0)
  const back = await copy(standIn.connectionString, site.path('back'))
  expect(back.stdout).toContain('2 of other programs left out')
  await withLog(site.path('back'), async (store) => {
    expect(await wholeLog(store)).toEqual(await withLog(dataDir, wholeLog))
    const nothing = observeStream(store, 'invoice-1')
    await nothing.untilCaughtUp()
    await nothing.stop()
    expect(nothing.events).toEqual([])
  })
})

test('an error names the place that cannot be read or written', async () => {
  const standIn = await site.standIn()
  await standIn.faults.down()
  const away = await copy(site.path('data'), site.path('copy'))
  expect(away.code).toBe(3)
  expect(away.stderr).toContain(site.path('data', 'log.sqlite'))
  const { dataDir } = await usedFolder()
  const down = await copy(dataDir, standIn.connectionString)
  expect(down.code).toBe(3)
  expect(down.stderr).toContain('EventStoreDB does not answer')
  const server = await site.serve('busy')
  const busy = await copy(dataDir, site.path('busy'))
  expect(busy.code).toBe(3)
  expect(busy.stderr).toContain('in use already')
  await server.stop()
})
