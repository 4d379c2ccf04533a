import { expect } from 'vitest'
import { bash, is, until } from '../support/site.ts'
import { test } from '../support/test.ts'

type Event = { readonly kind: string; readonly payload: Readonly<Record<string, unknown>> }

test('after a crash of its server, a run continues in the folder where its last command ended', async ({
  site,
}) => {
  const cwd = await site.project()
  await site.write('project/a/b/here', '')
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const model = await site.model(async ({ turn }) => {
    if (turn === 0) return bash('cd a/b')
    if (turn === 1) return bash('ls')
    await released
    return bash('pwd -P && cd ../.. && touch done')
  })
  const first = await site.serve('data', { model })
  const runId = await first.start(cwd)
  await until(() => model.requests.length, is(3))
  await first.kill()
  const second = await site.serve('data', { model })
  release()
  await second.untilStatus(runId, 'achieved')
  const { body } = await second.get(`/api/runs/${runId}/events?kinds=tool_result`)
  const results = (body as unknown as Event[]).map(({ payload }) => payload)
  const where = '[the next command starts in "a/b"]'
  expect(results).toMatchObject([
    { folder: 'a/b', output: where },
    { folder: 'a/b', output: `here\n${where}` },
    { folder: '.', output: expect.stringMatching(/\/project\/a\/b\n$/) },
  ])
  // The model reads where it is, and the goal is checked in the project.
  expect(JSON.stringify(model.requests[1])).toContain('the next command starts in')
})
