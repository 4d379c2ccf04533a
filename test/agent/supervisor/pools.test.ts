import { mkdir, rename, rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { obstacle } from '../../../src/agent/supervisor/claim.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { folderAt } from '../../../src/sandbox/project-folder.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../support.ts'

const about = async (name: string) => ({
  problem: name.startsWith('locked') ? 'needs SOME_KEY.' : null,
})
const checks = {
  obstacle: (run: Parameters<typeof obstacle>[0]) =>
    obstacle(run, { models: { about }, host: 'here' }),
}

const reasons = (records: readonly RunRecord[]) =>
  payloadsOf(records, 'run_queued').map(({ reason }) => reason)

test('a server leaves the runs of another pool to the servers of that pool', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent({ leaseMs: 3_600_000, pool: 'east' })
  const theirs = await shop.create({}, { pool: 'west' })
  const ours = await shop.create({}, { pool: 'east' })
  await shop.until(ours, 'run_end')
  expect(await shop.records(theirs)).toHaveLength(1)
  shop.startAgent({ unfinished: [theirs], leaseMs: 3_600_000, pool: 'west' })
  await shop.until(theirs, 'run_end')
})

test('any server may work on a run without a pool', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent({ leaseMs: 3_600_000, pool: 'east' })
  await shop.until(await shop.create(), 'run_end')
})

test('a run waits until its folder is there', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  await rm(shop.project, { recursive: true })
  shop.startAgent({ effects: checks })
  const runId = await shop.create()
  expect(reasons(await shop.until(runId, 'run_queued'))).toEqual([
    expect.stringMatching(/^The server on here cannot work in .*: it does not exist\./),
  ])
  await mkdir(shop.project)
  const records = await shop.until(runId, 'run_end')
  expect(reasons(records)).toHaveLength(1)
  expect(only(records, 'run_end').payload.status).toBe('achieved')
})

test('a run waits until its model can be called, and other runs take its turn', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent({ effects: checks, maxRunsAtWork: 1 })
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
  const ofPool = { leaseMs: 3_600_000, pool: 'east' }
  shop.startAgent({ effects: { obstacle: async () => 'no key' }, ...ofPool })
  shop.startAgent(ofPool)
  const records = await shop.until(await shop.create({}, { pool: 'east' }), 'run_end')
  expect(reasons(records)).toEqual([])
})

test('a server that can call only a fallback model claims the run', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent({ effects: checks })
  const runId = await shop.create({ model_name: 'locked', fallback_models: ['scripted'] })
  expect(reasons(await shop.until(runId, 'run_end'))).toEqual([])
})

test('the reason of a wait names each model that the run may still ask', async () => {
  const config = { cwd: '/', model_name: 'locked', fallback_models: ['locked too'] }
  expect(await checks.obstacle({ config })).toBe(
    'On here, the model "locked" needs SOME_KEY. Also, the model "locked too" needs SOME_KEY.',
  )
})

test.each([
  ['its folder is missing', false, /it does not exist/],
  ['another folder is in its place', true, /not the folder of this run any more/],
])('a run that is answered while %s is queued', async (_, isReplaced, why) => {
  await using shop = await Workshop.open([{}, { calls: [reachGoal] }])
  const runId = await shop.create({ hitl_enabled: true }, { project: folderAt(shop.project) })
  const first = shop.startAgent({ effects: checks })
  await shop.until(runId, 'human_check_required')
  await first.stop()
  await rename(shop.project, `${shop.project}-away`)
  if (isReplaced) await mkdir(shop.project)
  shop.startAgent({ unfinished: [runId], effects: checks })
  const approve = { type: 'respond', decision: 'approve', reason: null, answers: null } as const
  await shop.command(runId, approve)
  const records = await shop.until(runId, 'run_queued')
  expect(only(records, 'run_queued').payload.reason).toMatch(why)
  await rm(shop.project, { recursive: true, force: true })
  await rename(`${shop.project}-away`, shop.project)
  await shop.until(runId, 'run_end')
})
