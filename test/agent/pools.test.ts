import { mkdir, rename, rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { obstacle } from '../../src/agent/obstacle.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { only, reachGoal, Workshop } from './support.ts'

const LEASE_MS = 400
const models = {
  problem: async (name: string) => (name === 'locked' ? 'needs SOME_KEY, which is not set.' : null),
}
const checks = {
  obstacle: (run: Parameters<typeof obstacle>[0]) => obstacle(run, { models, host: 'here' }),
}

const reasons = (records: readonly RunRecord[]) =>
  records.flatMap((record) => (record.kind === 'run_queued' ? [record.payload.reason] : []))

test('a server leaves the runs of another pool to the servers of that pool', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent([], {}, 16, 3_600_000, 'east')
  const theirs = await shop.create({}, 'west')
  const ours = await shop.create({}, 'east')
  await shop.until(ours, 'run_end')
  expect(await shop.records(theirs)).toHaveLength(1)
  shop.startAgent([theirs], {}, 16, 3_600_000, 'west')
  await shop.until(theirs, 'run_end')
})

test('any server may work on a run without a pool', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent([], {}, 16, 3_600_000, 'east')
  await shop.until(await shop.create(), 'run_end')
})

test('a run that no server of its pool claims is queued, with the reason', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  const runId = await shop.create({}, 'west')
  shop.startAgent([], {}, 16, LEASE_MS, 'east')
  const queued = only(await shop.until(runId, 'run_queued'), 'run_queued')
  expect(queued.payload.reason).toMatch(/No server of its pool "west" .* RETRAI_POOL=west/)
  shop.startAgent([runId], {}, 16, LEASE_MS, 'west')
  const records = await shop.until(runId, 'run_end')
  only(records, 'run_claimed')
})

test('a run whose last server has left is queued, and is not taken over by another pool', async () => {
  await using shop = await Workshop.open([
    { calls: [{ tool: 'bash_exec', args: { command: 'touch begun; sleep 600' } }] },
    { calls: [reachGoal] },
  ])
  const west = shop.startAgent([], {}, 16, LEASE_MS, 'west')
  shop.startAgent([], {}, 16, LEASE_MS, 'east')
  const runId = await shop.create({}, 'west')
  await shop.until(runId, 'tool_call')
  await west.stop()
  const records = await shop.until(runId, 'run_queued')
  only(records, 'run_claimed')
  expect(reasons(records)).toEqual([expect.stringContaining('is gone')])
})

test('a run waits until its folder is there', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  await rm(shop.project, { recursive: true })
  shop.startAgent([], checks)
  const runId = await shop.create()
  expect(reasons(await shop.until(runId, 'run_queued'))).toEqual([
    expect.stringMatching(/^The server on here cannot work in .*: the folder does not exist\./),
  ])
  await mkdir(shop.project)
  const records = await shop.until(runId, 'run_end')
  expect(reasons(records)).toHaveLength(1)
  expect(only(records, 'run_end').payload.status).toBe('achieved')
})

test('a run waits until its model can be called, and other runs take its turn', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent([], checks, 1)
  const locked = await shop.create({ model_name: 'locked' })
  expect(reasons(await shop.until(locked, 'run_queued'))).toEqual([
    expect.stringContaining('needs SOME_KEY'),
  ])
  await shop.until(await shop.create(), 'run_end')
  await shop.command(locked, { type: 'configure', changes: { model_name: 'scripted' } })
  await shop.until(locked, 'run_end')
})

test('a run that one server of a pool cannot work on is claimed by another one of the pool', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent(
    [],
    { obstacle: async () => ({ type: 'cannot_work', reason: 'no key' }) },
    16,
    3_600_000,
    'east',
  )
  shop.startAgent([], {}, 16, 3_600_000, 'east')
  const records = await shop.until(await shop.create({}, 'east'), 'run_end')
  expect(reasons(records)).toEqual([])
})

test('a server that can call only a fallback model claims the run if no other server does', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent([], checks)
  const runId = await shop.create({ model_name: 'locked', fallback_models: ['scripted'] })
  expect(reasons(await shop.until(runId, 'run_end'))).toEqual([])
})

test('a server that can call the first model comes before one that can call only a fallback', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  const byFallback = shop.startAgent([], checks, 16, 3_600_000)
  shop.startAgent([], {}, 16, 3_600_000)
  const runId = await shop.create({ model_name: 'locked', fallback_models: ['scripted'] })
  await shop.until(runId, 'run_end')
  await byFallback.stop()
  expect(shop.requests.map(({ model }) => model)).toEqual(['locked'])
})

test('the reason of a wait names each model that the run may still ask', async () => {
  const config = { cwd: '/', model_name: 'locked', fallback_models: ['open', 'locked too'] }
  const problems = { problem: async (name: string) => (name === 'open' ? null : 'needs SOME_KEY.') }
  const found = (fallback: string | null) => {
    return obstacle({ runId: 'run', config, fallback }, { models: problems, host: 'here' })
  }
  expect(await found(null)).toEqual({
    type: 'only_fallback',
    reason: 'On here, the model "locked" needs SOME_KEY.',
  })
  expect(await found('open')).toBeNull()
  expect(await found('locked too')).toMatchObject({ type: 'cannot_work' })
  expect(
    await obstacle(
      { runId: 'run', config: { ...config, fallback_models: ['locked too'] } },
      { models: problems, host: 'here' },
    ),
  ).toEqual({
    type: 'cannot_work',
    reason:
      'On here, the model "locked" needs SOME_KEY. Also, the model "locked too" needs SOME_KEY.',
  })
})

test.each([
  ['its folder is missing', false, /the folder does not exist/],
  ['another folder is in its place', true, /not the folder of this run any more/],
])('a run that is answered while %s is queued', async (_, isReplaced, why) => {
  await using shop = await Workshop.open([{}, { calls: [reachGoal] }])
  const runId = await shop.create({ hitl_enabled: true })
  const first = shop.startAgent([], checks)
  await shop.until(runId, 'human_check_required')
  await first.stop()
  await rename(shop.project, `${shop.project}-away`)
  if (isReplaced) await mkdir(shop.project)
  shop.startAgent([runId], checks)
  const approve = { type: 'respond', decision: 'approve', reason: null, answers: null } as const
  await shop.command(runId, approve)
  const records = await shop.until(runId, 'run_queued')
  expect(only(records, 'run_queued').payload.reason).toMatch(why)
  await rm(shop.project, { recursive: true, force: true })
  await rename(`${shop.project}-away`, shop.project)
  await shop.until(runId, 'run_end')
})
