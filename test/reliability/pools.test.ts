import { expect } from 'vitest'
import * as z from 'zod'
import { retrai } from '../cli/support.ts'
import { bash, hasLength, type SiteServer, until } from '../support/site.ts'
import { test } from '../support/test.ts'

const DONE = bash('touch done')
const Claim = z.object({ kind: z.literal('run_claimed'), payload: z.object({ pid: z.int() }) })

async function claimants(server: SiteServer, runId: string): Promise<number[]> {
  const { body } = await server.get(`/api/runs/${runId}/events?kinds=all`)
  return z
    .array(z.unknown())
    .parse(body)
    .flatMap((record) => Claim.safeParse(record).data?.payload.pid ?? [])
}

test('a run whose pool has no server is queued by the other pool, and continues when its pool is back', async ({
  site,
}) => {
  const store = await site.standIn()
  const fast = await site.model([DONE])
  const slow = await site.model([{ delayMs: 600_000, ...DONE }])
  const serve = (folder: string, pool: string, model = fast) =>
    site.serve(folder, { model, store, env: { RETRAI_POOL: pool, RETRAI_LEASE_SECONDS: '1' } })
  const east = await serve('east', 'east')
  const west = await serve('west', 'west', slow)
  await Promise.all([east.untilReady(), west.untilReady()])
  const runId = await west.start()
  await until(() => claimants(west, runId), hasLength(1))
  // Each works on its own runs only.
  expect(await claimants(west, runId)).toEqual([west.process.pid])
  const other = await east.start('other')
  await east.untilStatus(other, 'achieved')
  expect(await claimants(east, other)).toEqual([east.process.pid])
  await west.kill()

  const { body } = await east.untilStatus(runId, 'queued')
  const { queued_reason } = body
  expect(queued_reason).toMatch(/pool "west".*RETRAI_POOL=west/)
  const queued = () => east.get('/api/runs?status=queued')
  expect((await queued()).body).toMatchObject([{ run_id: runId, status: 'queued', queued_reason }])
  const shown = await retrai(['show', runId, '--server', east.url])
  expect(shown.stdout).toMatch(/queued +.*pool "west"/)

  await serve('another-west', 'west')
  await east.untilStatus(runId, 'achieved')
  expect((await queued()).body).toEqual([])
})
