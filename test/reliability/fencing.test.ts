import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import type { LoggedRecord } from '../../src/log/codec.ts'
import { retraiProcess } from '../cli/support.ts'
import { expectAllDead, isAlive } from '../runner/support.ts'
import { dense } from '../store/contract/support.ts'
import { bash, isAtLeast, linesOf, type Site, until, untilRecords } from '../support/site.ts'
import { test } from '../support/test.ts'
import { audit, claimsOf } from './support.ts'

/** The replies of the model in each of three projects. The system prompt names the project. */
async function playedModel(site: Site) {
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
    if (text.includes('approving')) return bash(turn === 0 ? 'true' : 'touch done')
    return turn < 30 ? bash(`echo ${turn} >> effects; sleep 0.05`) : bash('touch done')
  })
  return { model, asked, release }
}

const outcomesOf = (records: readonly LoggedRecord[]) =>
  records.flatMap(({ record }) => (record.kind === 'tool_result' ? [record.payload.outcome] : []))

/** The processes of the command in the project that commands. */
const pidsOf = async (site: Site) => (await linesOf(site.path('commanding', 'pids'))).map(Number)

test('another server continues the runs of one that stalls, and takes the answers to them; when that wakes up, it stops its work at once', async ({
  site,
}) => {
  const standIn = await site.standIn()
  const { model, asked, release } = await playedModel(site)
  const options = { model, store: standIn, env: { RETRAI_LEASE_SECONDS: '4' } }
  const stalled = await site.serve('first', options)
  const names = ['commanding', 'asking', 'stepping']
  const runIds: string[] = []
  for (const name of names) {
    runIds.push(await stalled.start(name, { max_iterations: 40 }))
  }
  const [commanding = '', , stepping = ''] = runIds
  const waiting = await stalled.start('approving', { hitl_enabled: true })
  await stalled.untilStatus(waiting, 'awaiting_human')
  const pids = () => pidsOf(site)
  await until(pids, (found) => found.length === 2)
  await until(() => asked.length, isAtLeast(2))
  await untilRecords(standIn, stepping, 12)
  stalled.process.kill('SIGSTOP')

  const successor = await site.serve('second', options)
  const watcher = successor.watch(commanding)
  for (const runId of runIds.slice(1)) await successor.untilStatus(runId, 'achieved')
  // The successor still works on this run when the stalled server wakes up.
  expect((await successor.get(`/api/runs/${commanding}`)).body.status).toBe('running')
  for (const pid of await pids()) expect(isAlive(pid)).toBe(true)
  // A run that waits for a person needs no server until the answer comes.
  expect((await successor.get(`/api/runs/${waiting}`)).body.status).toBe('awaiting_human')
  await successor.post(`/api/runs/${waiting}/resume`, { decision: 'approve' })
  await successor.untilStatus(waiting, 'achieved')

  stalled.process.kill('SIGCONT')
  const woken = performance.now()
  await expectAllDead(await pids())
  expect(performance.now() - woken).toBeLessThan(5_000)
  release()
  await successor.untilStatus(commanding, 'achieved')
  const before = runIds.map((runId) => standIn.log.events(`run-${runId}`).length)
  await stalled.untilReady()
  for (const runId of runIds) await stalled.untilStatus(runId, 'achieved')
  // By now it would have written everything that it still wants to write.
  await delay(2_500)
  expect(runIds.map((runId) => standIn.log.events(`run-${runId}`).length)).toEqual(before)

  const store = await site.storeOf(standIn)
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

/** Longer than any test: a server that waits for its end fails. */
const FOR_EVER = { RETRAI_LEASE_SECONDS: '3600' }

test('servers beside each other work on each run once, and each needs a data folder of its own', async ({
  site,
}) => {
  const standIn = await site.standIn()
  const { model, release } = await playedModel(site)
  const options = { model, store: standIn, env: FOR_EVER }
  const first = await site.serve('first', options)
  const runId = await first.start('commanding', { max_iterations: 40 })
  const pids = () => pidsOf(site)
  await until(pids, (found) => found.length === 2)
  const second = await site.serve('second', options)
  await second.untilReady()
  // Both have read the whole log, and work.
  const others = await Promise.all(
    dense(0, 5).map((n) => (n % 2 === 0 ? first : second).start(`asking-${n}`)),
  )
  for (const other of others) {
    for (const server of [first, second]) await server.untilStatus(other, 'achieved')
  }
  for (const pid of await pids()) expect(isAlive(pid)).toBe(true)
  const place = ['--data-dir', site.path('second'), '--store', standIn.connectionString]
  const third = await retraiProcess(['serve', '--port', '0', ...place])
  expect(third.code).toBe(1)
  expect(third.stderr).toContain('read-model.sqlite')
  expect(third.stderr).toContain('give each server a data folder of its own')
  expect((await second.get('/health/live')).status).toBe(200)
  // A server that was killed continues its runs at once when it starts again.
  await first.kill()
  const again = await site.serve('first', options)
  const claims = () => standIn.log.events(`run-${runId}`).filter((e) => e.type === 'run_claimed')
  await until(claims, ({ length }) => length === 2)
  // A server that stops releases its lease, so no server waits for its end.
  await again.stop()
  release()
  await second.untilStatus(runId, 'achieved')
  const store = await site.storeOf(standIn)
  expect(claimsOf(await audit(store, runId))).toBe(3)
  for (const [n, other] of others.entries()) {
    expect(claimsOf(await audit(store, other))).toBe(1)
    expect(await linesOf(site.path(`asking-${n}`, 'effects'))).toEqual(['0', '1'])
  }
})

test('a second server on one data folder refuses to start, and does not disturb the first', async ({
  site,
}) => {
  const server = await site.serve('data')
  await server.untilReady()
  const dataDir = site.path('data')
  const before = await readFile(`${dataDir}/log.sqlite`)
  const second = await retraiProcess(['serve', '--port', '0', '--data-dir', dataDir])
  expect(second.code).toBe(1)
  expect(second.stderr).toContain(`${dataDir}/log.sqlite is in use already, by another server`)
  expect(second.stderr).toContain('--data-dir')
  expect(await readFile(`${dataDir}/log.sqlite`)).toEqual(before)
  expect((await server.get('/health/ready')).status).toBe(200)
})
