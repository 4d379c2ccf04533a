import { afterEach, beforeEach, expect, test } from 'vitest'
import * as z from 'zod'
import type { ServerProcess } from '../../examples/demo/server.ts'
import { retrai } from '../cli/support.ts'
import { get, kill, post, Site, start, until, untilReady, untilStatus } from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(() => site[Symbol.asyncDispose]())

const done = { calls: [{ tool: 'bash_exec', args: { command: 'touch done' } }] }
const Row = z.object({
  run_id: z.string(),
  status: z.string(),
  queued_reason: z.string().optional(),
})
const Claim = z.object({ kind: z.literal('run_claimed'), payload: z.object({ pid: z.int() }) })

async function listed(server: ServerProcess, query: string) {
  return z.array(Row).parse((await get(server, `/api/runs${query}`)).body)
}

async function claimants(server: ServerProcess, runId: string): Promise<number[]> {
  const { body } = await get(server, `/api/runs/${runId}/events?kinds=all`)
  return z
    .array(z.unknown())
    .parse(body)
    .flatMap((record) => Claim.safeParse(record).data?.payload.pid ?? [])
}

test('each of two pools on one store works on its own runs only', async () => {
  const standIn = await site.standIn()
  const { url: model } = await site.model([done])
  const serve = (pool: string) =>
    site.serve(pool, {
      model,
      args: ['--store', standIn.connectionString],
      env: { RETRAI_POOL: pool },
    })
  const [east, west] = [await serve('east'), await serve('west')]
  await Promise.all([untilReady(east), untilReady(west)])
  const cwd = await site.project()
  for (const server of [east, west, east, west]) {
    const runId = await start(server, cwd)
    const { body } = await untilStatus(server, runId, 'achieved')
    expect(body.pool).toBe(server === east ? 'east' : 'west')
    const pids = await claimants(server, runId)
    expect(pids).toHaveLength(1)
    const other = await start(server === east ? west : east, cwd)
    await untilStatus(server, other, 'achieved')
    expect(await claimants(server, other)).not.toEqual(pids)
  }
})

test('a run whose pool has no server is queued by the other pool, and continues when its pool is back', async () => {
  const standIn = await site.standIn()
  const serve = (folder: string, pool: string, model: string) =>
    site.serve(folder, {
      model,
      args: ['--store', standIn.connectionString],
      env: { RETRAI_POOL: pool, RETRAI_LEASE_SECONDS: '1' },
    })
  const { url: fast } = await site.model([done])
  const { url: slow } = await site.model([{ delayMs: 600_000, ...done }])
  const [east, west] = [await serve('east', 'east', fast), await serve('west', 'west', slow)]
  await Promise.all([untilReady(east), untilReady(west)])
  const runId = await start(west, await site.project())
  await until(
    () => claimants(west, runId),
    ({ length }) => length === 1,
  )
  await kill(west)

  const { body } = await untilStatus(east, runId, 'queued')
  expect(body.queued_reason).toMatch(/pool "west".*RETRAI_POOL=west/)
  expect(await listed(east, '?status=queued')).toMatchObject([
    { run_id: runId, status: 'queued', queued_reason: body.queued_reason },
  ])
  const shown = await retrai(['show', runId, '--server', east.url])
  expect(shown.stdout).toMatch(/queued +.*pool "west"/)

  await serve('another-west', 'west', fast)
  await untilStatus(east, runId, 'achieved')
  expect(await listed(east, '?status=queued')).toEqual([])
})

test('a run waits for its key, also across a restart, and can be aborted meanwhile', async () => {
  const folder = 'data'
  const cwd = await site.project()
  const { url: model } = await site.model([{ delayMs: 600_000, ...done }])
  const first = await site.serve(folder, { model })
  const runs = [await start(first, cwd), await start(first, cwd)] as const
  for (const runId of runs) await untilStatus(first, runId, 'running')
  await kill(first)

  // An empty setting counts as not set: the models of the run need a key now.
  const keyless = await site.serve(folder, { env: { RETRAI_LLM_BASE_URL: '' } })
  for (const runId of runs) {
    const { body } = await untilStatus(keyless, runId, 'queued')
    expect(body.queued_reason).toContain('API_KEY')
  }
  const aborted = await post(keyless, `/api/runs/${runs[0]}/abort`, {})
  expect(aborted.body).toMatchObject({ status: 'aborted' })
  await kill(keyless)

  const { url } = await site.model([done])
  const last = await site.serve(folder, { model: url })
  await untilStatus(last, runs[1], 'achieved')
})
