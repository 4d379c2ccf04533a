import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ServerProcess } from '../../examples/demo/server.ts'
import type { LoggedRecord } from '../../src/log/codec.ts'
import { retrai } from '../cli/support.ts'
import { dense } from '../store/contract/support.ts'
import type { StandIn } from '../support/eventstore-stand-in/index.ts'
import {
  audit,
  get,
  isAlive,
  kill,
  linesOf,
  openStandInStore,
  post,
  Site,
  start,
  until,
  untilReady,
  untilStatus,
  watch,
} from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(async () => {
  await site[Symbol.asyncDispose]()
})

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })

/** The replies of the model in each of three projects. The system prompt names the project. */
async function playedModel() {
  const asked: string[] = []
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const model = await site.model(async ({ messages, turn }) => {
    const text = messages.map(({ content }) => content).join('\n')
    if (text.includes('commanding')) {
      // A command that outlives a stalled server, with a grandchild that ignores SIGTERM.
      const command =
        'echo $$ >> pids; sh -c \'trap "" TERM; echo $$ >> pids; while :; do sleep 0.1; done\' & wait'
      if (turn === 0) return bash(command)
      await released
      return bash('touch done')
    }
    if (text.includes('asking')) {
      asked.push(`turn ${turn}`)
      if (turn === 0) return bash('echo 0 >> effects')
      return { ...bash('echo 1 >> effects; touch done'), delayMs: asked.length === 2 ? 2000 : 0 }
    }
    return turn < 30 ? bash(`echo ${turn} >> effects; sleep 0.05`) : bash('touch done')
  })
  return { url: model.url, asked, release }
}

const outcomesOf = (records: readonly LoggedRecord[]) =>
  records.flatMap(({ record }) => (record.kind === 'tool_result' ? [record.payload.outcome] : []))

const eventsOf = (standIn: StandIn, runId: string) => standIn.log.events(`run-${runId}`).length

test('a server that stalls and wakes up after a takeover stops its work at once', async () => {
  const standIn = await site.standIn()
  const { url, asked, release } = await playedModel()
  const args = ['--store', standIn.connectionString]
  const options = { model: url, args, env: { RETRAI_LEASE_SECONDS: '4' } }
  const stalled = await site.serve('first', options)
  const names = ['commanding', 'asking', 'stepping']
  const runIds: string[] = []
  for (const name of names) {
    runIds.push(await start(stalled, await site.project(name), { max_iterations: 40 }))
  }
  const [commanding = '', , stepping = ''] = runIds
  const pids = async () => (await linesOf(site.path('commanding', 'pids'))).map(Number)
  await until(pids, (found) => found.length === 2)
  await until(
    async () => asked.length,
    (requests) => requests >= 2,
  )
  await until(
    async () => eventsOf(standIn, stepping),
    (count) => count > 12,
  )
  stalled.process.kill('SIGSTOP')

  const successor = await site.serve('second', options)
  const watcher = watch(successor, commanding)
  for (const runId of runIds.slice(1)) await untilStatus(successor, runId, 'achieved')
  // The successor still works on this run when the stalled server wakes up.
  expect((await get(successor, `/api/runs/${commanding}`)).body.status).toBe('running')
  for (const pid of await pids()) expect(await isAlive(pid)).toBe(true)

  stalled.process.kill('SIGCONT')
  const woken = performance.now()
  await until(
    async () => Promise.all((await pids()).map(isAlive)),
    (alive) => alive.every((one) => !one),
  )
  expect(performance.now() - woken).toBeLessThan(5_000)
  release()
  await untilStatus(successor, commanding, 'achieved')
  const before = runIds.map((runId) => eventsOf(standIn, runId))
  await untilReady(stalled)
  for (const runId of runIds) await untilStatus(stalled, runId, 'achieved')
  // By now it would have written everything that it still wants to write.
  await delay(2_500)
  expect(runIds.map((runId) => eventsOf(standIn, runId))).toEqual(before)

  const store = await openStandInStore(standIn)
  site.onClose(() => store.close())
  for (const runId of runIds) {
    const records = await audit(store, runId)
    const claimants = records.flatMap(({ record }) =>
      record.kind === 'run_claimed' ? [record.payload.claimant] : [],
    )
    expect(new Set(claimants).size).toBe(2)
    expect(claimants).toHaveLength(2)
  }
  // Each effect starts once. The model gets `unknown` for the effect that ran at the takeover.
  expect(await pids()).toHaveLength(2)
  expect(await linesOf(site.path('asking', 'effects'))).toEqual(['0', '1'])
  const steps = await linesOf(site.path('stepping', 'effects'))
  expect(new Set(steps).size).toBe(steps.length)
  // The effect that started at the moment of the stall may have come late, or not at all.
  const unknown = String(outcomesOf(await audit(store, stepping)).indexOf('unknown'))
  const others = dense(0, 29)
    .map(String)
    .filter((step) => step !== unknown)
  expect(steps.filter((step) => step !== unknown)).toEqual(others)
  expect(await watcher.closed).toMatchObject({ code: 1000 })
})

test('a run that is created on one of two servers is worked on once', async () => {
  const standIn = await site.standIn()
  const { url } = await playedModel()
  const options = { model: url, args: ['--store', standIn.connectionString] }
  const servers = await Promise.all(['first', 'second'].map((name) => site.serve(name, options)))
  await Promise.all(servers.map((server) => untilReady(server)))
  const created = await Promise.all(
    dense(0, 5).map(async (n) => {
      const server = servers[n % 2] as ServerProcess
      return start(server, await site.project(`asking-${n}`))
    }),
  )
  const store = await openStandInStore(standIn)
  site.onClose(() => store.close())
  for (const [n, runId] of created.entries()) {
    for (const server of servers) await untilStatus(server, runId, 'achieved')
    const records = await audit(store, runId)
    expect(records.filter(({ record }) => record.kind === 'run_claimed')).toHaveLength(1)
    expect(await linesOf(site.path(`asking-${n}`, 'effects'))).toEqual(['0', '1'])
  }
})

/** Longer than any test: a server that waits for its end fails. */
const FOR_EVER = { RETRAI_LEASE_SECONDS: '3600' }

const claimsOf = (records: readonly LoggedRecord[]) =>
  records.filter(({ record }) => record.kind === 'run_claimed').length

test('a server that starts beside another does not touch its runs', async () => {
  const standIn = await site.standIn()
  const { url, release } = await playedModel()
  const options = { model: url, args: ['--store', standIn.connectionString], env: FOR_EVER }
  const first = await site.serve('first', options)
  const runId = await start(first, await site.project('commanding'), { max_iterations: 40 })
  const pids = async () => (await linesOf(site.path('commanding', 'pids'))).map(Number)
  await until(pids, (found) => found.length === 2)
  const second = await site.serve('second', options)
  await untilReady(second)
  // It works, and has read the whole log.
  const other = await start(second, await site.project('asking'), { max_iterations: 40 })
  await untilStatus(second, other, 'achieved')
  for (const pid of await pids()) expect(await isAlive(pid)).toBe(true)
  // A server that stops releases its lease, so no server waits for its end.
  release()
  await first.stop()
  await untilStatus(second, runId, 'achieved')
  const store = await openStandInStore(standIn)
  site.onClose(() => store.close())
  expect(claimsOf(await audit(store, runId))).toBe(2)
  expect(claimsOf(await audit(store, other))).toBe(1)
})

test('the runs of a killed server continue on another, which also takes the answers to them', async () => {
  const standIn = await site.standIn()
  const { url } = await playedModel()
  const args = ['--store', standIn.connectionString]
  const options = { model: url, args, env: { RETRAI_LEASE_SECONDS: '2' } }
  const first = await site.serve('first', options)
  const working = await start(first, await site.project('stepping'), { max_iterations: 40 })
  const waiting = await start(first, await site.project('asking'), { hitl_enabled: true })
  await untilStatus(first, waiting, 'awaiting_human')
  await until(
    async () => eventsOf(standIn, working),
    (count) => count > 12,
  )
  const second = await site.serve('second', options)
  await untilReady(second)
  first.process.kill('SIGKILL')
  await untilStatus(second, working, 'achieved')
  // A run that waits for a person needs no server until the answer comes.
  expect((await get(second, `/api/runs/${waiting}`)).body.status).toBe('awaiting_human')
  await post(second, `/api/runs/${waiting}/resume`, { decision: 'approve' })
  await untilStatus(second, waiting, 'achieved')
})

test('a killed server continues its runs at once when it starts again', async () => {
  const standIn = await site.standIn()
  const { url } = await playedModel()
  const options = { model: url, args: ['--store', standIn.connectionString], env: FOR_EVER }
  const first = await site.serve('data', options)
  const runId = await start(first, await site.project('stepping'), { max_iterations: 40 })
  await until(
    async () => eventsOf(standIn, runId),
    (count) => count > 12,
  )
  await kill(first)
  const again = await site.serve('data', options)
  await untilStatus(again, runId, 'achieved')
})

test('a second server on one data folder refuses to start, and does not disturb the first', async () => {
  const server = await site.serve('data')
  await untilReady(server)
  const dataDir = site.path('data')
  const before = await readFile(`${dataDir}/log.sqlite`)
  const second = await retrai(['serve', '--port', '0', '--data-dir', dataDir])
  expect(second.code).toBe(1)
  expect(second.stderr).toContain(`${dataDir}/log.sqlite is in use already, by another server`)
  expect(second.stderr).toContain('--data-dir')
  expect(await readFile(`${dataDir}/log.sqlite`)).toEqual(before)
  expect((await get(server, '/health/ready')).status).toBe(200)
})

test('two servers on one EventStoreDB need a data folder each', async () => {
  const standIn = await site.standIn()
  const args = ['--store', standIn.connectionString]
  const server = await site.serve('data', { args })
  const second = await retrai(['serve', '--port', '0', '--data-dir', site.path('data'), ...args])
  expect(second.code).toBe(1)
  expect(second.stderr).toContain('read-model.sqlite')
  expect(second.stderr).toContain('give each server a data folder of its own')
  expect((await get(server, '/health/live')).status).toBe(200)
})
