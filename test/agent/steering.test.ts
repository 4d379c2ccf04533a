import { expect, test } from 'vitest'
import { only, reachGoal, Workshop } from './support.ts'

const config = { max_turns_per_iteration: 50 }

test('a message sent while a call runs is in the next request', async () => {
  await using shop = await Workshop.open([
    { calls: [{ tool: 'bash_exec', args: { command: 'until test -e go; do sleep 0.02; done' } }] },
    { calls: [reachGoal] },
  ])
  shop.startAgent()
  const runId = await shop.create(config)
  await shop.until(runId, 'tool_call')
  await shop.command(runId, { type: 'send_message', text: 'Leave the API alone.' })
  await shop.file('go', '')
  await shop.until(runId, 'run_end')
  expect(shop.requests[1]?.messages.at(-1)).toMatchObject({ role: 'user' })
  expect(shop.requests[1]?.messages.at(-1)?.content).toContain('Leave the API alone.')
})

test('a message sent while the model replies is in the request after it, also after a crash', async () => {
  await using shop = await Workshop.open([
    { text: 'It is done.', delayMs: 400 },
    { calls: [reachGoal] },
  ])
  const first = shop.startAgent()
  const runId = await shop.create(config)
  await shop.until(runId, 'project_context')
  await shop.command(runId, { type: 'send_message', text: 'Make the file.' })
  await first.stop()
  shop.startAgent([runId])
  const records = await shop.until(runId, 'run_end')
  expect(only(records, 'run_end').payload.achieved).toBe(true)
  const told = shop.requests.map(
    ({ messages }) => messages.filter(({ content }) => content?.includes('Make the file.')).length,
  )
  expect(Math.max(...told)).toBe(1)
  expect(told.at(-1)).toBe(1)
})
