import { expect, test } from 'vitest'
import { get, kill, Site, start, until, untilStatus } from './support.ts'

test('what runs wait for is in their details and in the list, also after a crash in the wait', async () => {
  await using site = await Site.open()
  let isAway = true
  const model = await site.model(() =>
    isAway ? { status: 529 } : { calls: [{ tool: 'bash_exec', args: { command: 'touch done' } }] },
  )
  const serve = () =>
    site.serve('data', { model: model.url, env: { RETRAI_MAX_RUNS_AT_WORK: '1' } })
  const before = await serve()
  const waiting = await start(before, await site.project('away'))
  await until(
    () => get(before, `/api/runs/${waiting}`),
    ({ body }) => body.waiting_for !== undefined,
  )
  const queued = await start(before, await site.project('queued'))
  const { body } = await untilStatus(before, queued, 'queued')
  expect(body.queued_reason).toContain('RETRAI_MAX_RUNS_AT_WORK')
  const [row, ...others] = (await get(before, '/api/runs?status=queued'))
    .body as unknown as object[]
  expect(row).toMatchObject({ run_id: queued, queued_reason: body.queued_reason })
  expect(others).toEqual([])
  const details = (await get(before, `/api/runs/${waiting}`)).body
  const listed = (await get(before, '/api/runs?status=running')).body as unknown as object[]
  expect(listed).toMatchObject([{ run_id: waiting }])
  const wait = { what: expect.stringContaining('529'), next_try: expect.stringMatching(/Z$/) }
  expect(listed[0]).toMatchObject({ waiting_for: wait })
  expect(details).toMatchObject({ status: 'running', waiting_for: wait })
  await kill(before)
  const after = await serve()
  const { since } = details.waiting_for as { since: string }
  const requests = model.requests.length
  await until(
    async () => model.requests.length,
    (count) => count > requests,
  )
  const { body: again } = await get(after, `/api/runs/${waiting}`)
  expect(again.waiting_for).toMatchObject({ since })
  isAway = false
  await untilStatus(after, waiting, 'achieved')
  await untilStatus(after, queued, 'achieved')
  expect((await get(after, `/api/runs/${waiting}`)).body).not.toHaveProperty('waiting_for')
})
