import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir } from 'node:fs/promises'
import { expect } from 'vitest'
import { artifactOfStream } from '../../src/log/run-log.ts'
import type { EventStore, RecordedEvent } from '../../src/store/event-store.ts'
import { CLI, cleanEnv, retrai } from '../cli/support.ts'
import { append, dense, newEvent, observeAll, observeStream } from '../store/contract/support.ts'
import { bash, isAtLeast, printed, type Site, until } from '../support/site.ts'
import { test } from '../support/test.ts'
import { audit } from './support.ts'

const args = (from: string, to: string) => ['copy', '--from', from, '--to', to]
const copy = (from: string, to: string) => printed(args(from, to))
const refusal = async (from: string, to: string): Promise<string> => {
  const { code, stderr } = await retrai(args(from, to))
  expect(code).toBe(3)
  return stderr
}

/** A data folder with runs whose records are mixed in the log. The last run waits for a person. */
async function mixedFolder(site: Site, runs: number, steps: number) {
  const model = await site.model([
    ...dense(1, steps).map((n) => bash(`echo ${n}`)),
    bash('touch done'),
  ])
  const server = await site.serve('data', { model })
  const changes = (n: number) => ({ max_iterations: 30, hitl_enabled: n === runs })
  const runIds = await Promise.all(
    dense(1, runs).map((n) => server.start(`project-${n}`, changes(n))),
  )
  const waiting = runIds.at(-1) ?? ''
  const details = await Promise.all(
    runIds.map(async (runId) => {
      const status = runId === waiting ? 'awaiting_human' : 'achieved'
      return (await server.untilStatus(runId, status)).body
    }),
  )
  await server.stop()
  return { dataDir: site.path('data'), runIds, waiting, details, model }
}

/** All events that a subscriber to the whole log gets, without what depends on the store. */
async function wholeLog(store: EventStore) {
  const observer = observeAll(store, '')
  await observer.untilCaughtUp()
  await observer.stop()
  return observer.events.filter(isOfLog).map(comparable)
}

/** Servers on an EventStoreDB keep artifacts in it. */
const isOfLog = ({ stream }: Pick<RecordedEvent, 'stream'>): boolean =>
  artifactOfStream(stream) === null

const comparable = ({ position: _, created: __, ...event }: RecordedEvent) => event

test('a log stays the same when it is copied to EventStoreDB and back, even with an interruption and a repetition', async ({
  site,
}) => {
  const { dataDir, runIds, waiting, details, model } = await mixedFolder(site, 6, 4)
  const standIn = await site.standIn()
  const to = standIn.connectionString
  const original = await site.withLog('data', wholeLog)

  standIn.faults.delayMs = 3
  const child = spawn(process.execPath, [CLI, 'copy', '--from', dataDir, '--to', to], {
    env: cleanEnv(),
    stdio: 'ignore',
  })
  await until(() => standIn.log.all.length, isAtLeast(31))
  child.kill('SIGKILL')
  await once(child, 'exit')
  standIn.faults.delayMs = 0
  const interrupted = standIn.log.all.length
  expect(interrupted).toBeLessThan(original.length)

  standIn.faults.nextAppends('lose_answer', 2)
  expect(await copy(dataDir, to)).toMatch(
    /^Done: \d+ events copied, \d+ were there already; 9 streams; \d+ artifacts$/m,
  )
  expect(await copy(dataDir, to)).toContain(
    `Done: 0 events copied, ${original.length} were there already`,
  )
  expect(standIn.log.all.filter(isOfLog)).toHaveLength(original.length)
  expect(await wholeLog(await site.storeOf(standIn))).toEqual(original)

  expect(await copy(to, site.path('back'))).toContain(
    `Done: ${standIn.log.all.length} events copied, 0 were there already`,
  )
  expect(await site.withLog('back', wholeLog)).toEqual(original)
  for (const runId of runIds.filter((id) => id !== waiting)) {
    const inTarget = await audit(await site.storeOf(standIn), runId)
    expect(await site.withLog('back', (store) => audit(store, runId))).toEqual(inTarget)
  }

  // The same server continues with the other store, in the same data folder.
  const server = await site.serve('data', { model, store: standIn })
  await server.untilReady()
  for (const [index, runId] of runIds.entries()) {
    // The new process claims the run that waits, which adds a record.
    const { body } = await server.get(`/api/runs/${runId}`)
    const changed = runId === waiting ? { progress: body.progress } : {}
    expect(body).toEqual({ ...details[index], ...changed })
  }
  const watcher = server.watch(waiting)
  const answer = await server.post(`/api/runs/${waiting}/resume`, { decision: 'abort' })
  expect(answer.status).toBe(200)
  expect(await watcher.closed).toMatchObject({ code: 1000 })
})

test('a target with other content is refused, and stays unchanged', async ({
  usedFolder: runId,
  site,
}) => {
  const dataDir = site.path('data')
  const own = await site.serve('own')
  await own.stop()
  const before = await site.withLog('own', wholeLog)
  expect(await refusal(dataDir, site.path('own'))).toContain('already holds another log')
  expect(await site.withLog('own', wholeLog)).toEqual(before)

  // In the source, tokens may come before what names the log.
  await mkdir(site.path('tokens'))
  await site.withLog('tokens', (store) => append(store, 'retrai-tokens', [newEvent()]))
  expect(await refusal(site.path('tokens'), site.path('own'))).toContain(
    'already holds another log',
  )
  expect(await site.withLog('own', wholeLog)).toEqual(before)

  const stream = `run-${runId}`
  await cp(dataDir, site.path('other'), { recursive: true })
  await site.withLog('data', (store) => append(store, stream, [newEvent()]))
  const written = await site.withLog('other', (store) => append(store, stream, [newEvent()]))
  expect(await refusal(dataDir, site.path('other'))).toContain(
    `${stream} of the target holds another event at revision ${written}`,
  )
})

test('streams of other programs in an EventStoreDB are not copied', async ({
  usedFolder: _,
  site,
}) => {
  const dataDir = site.path('data')
  const standIn = await site.standIn()
  await append(await site.storeOf(standIn), 'invoice-1', [newEvent(), newEvent()])
  await copy(dataDir, standIn.connectionString)
  expect(await copy(standIn.connectionString, site.path('back'))).toContain(
    '2 of other programs left out',
  )
  await site.withLog('back', async (store) => {
    expect(await wholeLog(store)).toEqual(await site.withLog('data', wholeLog))
    const nothing = observeStream(store, 'invoice-1')
    await nothing.untilCaughtUp()
    await nothing.stop()
    expect(nothing.events).toEqual([])
  })
})

test('an error names the place that cannot be read or written', async ({ usedFolder: _, site }) => {
  const standIn = await site.standIn()
  await standIn.faults.down()
  expect(await refusal(site.path('none'), site.path('copy'))).toContain(
    site.path('none', 'log.sqlite'),
  )
  const dataDir = site.path('data')
  expect(await refusal(dataDir, standIn.connectionString)).toContain('EventStoreDB does not answer')
  await site.serve('busy')
  expect(await refusal(dataDir, site.path('busy'))).toContain('in use already')
})
