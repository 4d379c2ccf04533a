import { expect, test } from 'vitest'
import type { Toolbox } from '../../../src/agent/tools/tool.ts'
import { only, payloadsOf, played, reachGoal, SUBAGENTS, Workshop } from '../support.ts'

const read = (path: string) => ({ tool: 'file_read', args: { path } })
const config = { max_turns_per_iteration: 50 }

test('calls of a reply run one after the other; after a stop, a call that only reads is repeated', async () => {
  await using shop = await Workshop.open([
    { calls: [read('a'), read('b'), read('c')] },
    { calls: [reachGoal] },
  ])
  const { toolbox } = shop
  const [began, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const events: string[] = []
  const execute: Toolbox['execute'] = async (call, context) => {
    events.push(`begin ${call.args.path}`)
    if (call.args.path === 'b') began.resolve()
    const result = await toolbox.execute(call, context)
    if (call.args.path === 'b') await held.promise
    events.push(`end ${call.args.path}`)
    return result
  }
  const first = shop.startAgent({ effects: { toolbox: { ...toolbox, execute } } })
  const runId = await shop.create(config)
  await began.promise
  const stopped = first.stop()
  held.resolve()
  await stopped
  shop.startAgent({ unfinished: [runId] })
  const records = await shop.until(runId, 'run_end')
  const outcomes = payloadsOf(records, 'tool_result').map(({ outcome }) => outcome)
  expect(outcomes).toEqual(['error', 'error', 'error', 'ok'])
  expect(events).toEqual(['a', 'b'].flatMap((name) => [`begin ${name}`, `end ${name}`]))
})

test('a tool that a run does without is neither offered nor run, also in its sub-agents', async () => {
  const help = { tool: 'run_subagent', args: { instructions: 'Look at the history.' } }
  const log = { tool: 'git_log', args: {} }
  const { requests, records, results } = await played(
    ({ turn, messages }) =>
      turn > 0
        ? { text: 'Done.', calls: turn === 1 ? [reachGoal] : [] }
        : { calls: messages[0]?.content === 'You help.' ? [log] : [log, help] },
    { ...config, tools: { exclude: ['git_log'] } },
    { subagents: SUBAGENTS },
  )
  expect(results[0]).toMatchObject({
    tool: 'git_log',
    outcome: 'rejected',
    output: expect.stringMatching(/^There is no tool "git_log".*bash_exec, (?!.*git_log)/),
  })
  const { payload: started } = only(records, 'subagent_started')
  expect(started.config.tools).toEqual({ exclude: ['git_log'] })
  expect(requests.length).toBeGreaterThan(3)
  for (const { tools } of requests) {
    expect(tools).toContain('git_status')
    expect(tools).not.toContain('git_log')
  }
})
