import { expect, test } from 'vitest'
import { get, kill, Site, start, until, untilStatus } from './support.ts'

type Event = { readonly kind: string; readonly payload: Readonly<Record<string, unknown>> }

const bash = (command: string) => ({ calls: [{ tool: 'bash_exec', args: { command } }] })

test('after a crash of its server, a run continues in the folder where its last command ended', async () => {
  await using site = await Site.open()
  const cwd = await site.project()
  await site.write('project/a/b/here', '')
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const model = await site.model(async ({ turn }) => {
    if (turn === 0) return bash('cd a/b')
    if (turn === 1) return bash('ls')
    await released
    return bash('pwd -P && cd ../.. && touch done')
  })
  const first = await site.serve('data', { model: model.url })
  const runId = await start(first, cwd)
  await until(
    async () => model.requests.length,
    (count) => count === 3,
  )
  await kill(first)
  const second = await site.serve('data', { model: model.url })
  release()
  await untilStatus(second, runId, 'achieved')
  const { body } = await get(second, `/api/runs/${runId}/events?kinds=tool_result`)
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
