import { expect, test } from 'vitest'
import type { Toolbox } from '../../src/agent/tools/tool.ts'
import type { RunRecord } from '../../src/domain/records.ts'
import { only, reachGoal, SUBAGENTS, Workshop } from './support.ts'

const read = (path: string) => ({ tool: 'file_read', args: { path } })
const config = { max_turns_per_iteration: 50 }

/** The real tools. A call begins when `mayBegin` resolves, and all that happens is noted. */
class Watched {
  readonly events: string[] = []
  atOnce = 0
  most = 0
  readonly toolbox: Toolbox

  constructor(shop: Workshop, mayEnd: (path: string) => Promise<void>) {
    const real = shop.toolbox
    this.toolbox = {
      ...real,
      execute: async (call, context) => {
        const name = String(call.args.path ?? call.tool)
        this.events.push(`begin ${name}`)
        this.atOnce += 1
        this.most = Math.max(this.most, this.atOnce)
        const result = await real.execute(call, context)
        await mayEnd(name)
        this.atOnce -= 1
        this.events.push(`end ${name}`)
        return result
      },
    }
  }
}

/** The calls and results in the order of their records. */
const course = (records: readonly RunRecord[]): string[] =>
  records.flatMap(({ kind, payload }) =>
    kind === 'tool_call' || kind === 'tool_result' ? [`${kind} ${payload.call_id}`] : [],
  )

test('calls that only read run side by side, and are recorded in their order', async () => {
  await using shop = await Workshop.open([
    { calls: [read('a'), read('b'), read('c')] },
    { calls: [reachGoal] },
  ])
  const lastBegan = Promise.withResolvers<void>()
  const watched = new Watched(shop, async (path) => {
    if (path === 'c') lastBegan.resolve()
    if (path === 'a') await lastBegan.promise
  })
  shop.startAgent([], { toolbox: watched.toolbox })
  const records = await shop.until(await shop.create(config), 'run_end')
  expect(only(records, 'run_end').payload.achieved).toBe(true)
  expect(watched.most).toBe(3)
  expect(course(records).slice(0, 6)).toEqual(
    ['call_0_0', 'call_0_1', 'call_0_2'].flatMap((id) => [`tool_call ${id}`, `tool_result ${id}`]),
  )
})

test('a call that writes waits for the reads before it, and the reads after it wait for it', async () => {
  const write = { tool: 'file_write', args: { path: 'w', content: 'w' } }
  await using shop = await Workshop.open([
    { calls: [read('a'), write, read('w')] },
    { calls: [reachGoal] },
  ])
  const watched = new Watched(shop, async () => {})
  shop.startAgent([], { toolbox: watched.toolbox })
  await shop.until(await shop.create(config), 'run_end')
  expect(watched.events.slice(0, 6)).toEqual(
    ['a', 'w', 'w'].flatMap((name) => [`begin ${name}`, `end ${name}`]),
  )
})

test('no more than four run at once', async () => {
  const many = Array.from({ length: 9 }, (_, n) => read(`${n}`))
  await using shop = await Workshop.open([{ calls: many }, { calls: [reachGoal] }])
  const watched = new Watched(shop, async () => {})
  shop.startAgent([], { toolbox: watched.toolbox })
  const records = await shop.until(await shop.create(config), 'run_end')
  expect(records.filter(({ kind }) => kind === 'tool_result')).toHaveLength(10)
  expect(watched.most).toBe(4)
})

test('after a stop in the middle, calls without a recorded result are repeated, and none is unknown', async () => {
  await using shop = await Workshop.open([
    { calls: [read('a'), read('b'), read('c')] },
    { calls: [reachGoal] },
  ])
  const held = Promise.withResolvers<void>()
  const watched = new Watched(shop, (path) => (path === 'b' ? held.promise : Promise.resolve()))
  const first = shop.startAgent([], { toolbox: watched.toolbox })
  const runId = await shop.create(config)
  await shop.until(runId, 'tool_result')
  const stopped = first.stop()
  held.resolve()
  await stopped
  shop.startAgent([runId])
  const records = await shop.until(runId, 'run_end')
  const outcomes = records.flatMap((r) => (r.kind === 'tool_result' ? [r.payload.outcome] : []))
  expect(outcomes).toEqual(['error', 'error', 'error', 'ok'])
  expect(watched.events).toContain('begin c')
})

test('a tool that a run does without is neither offered nor run, also in its sub-agents', async () => {
  const help = { tool: 'run_subagent', args: { instructions: 'Look at the history.' } }
  const log = { tool: 'git_log', args: {} }
  await using shop = await Workshop.open((request) =>
    request.turn > 0
      ? { text: 'Done.', calls: request.turn === 1 ? [reachGoal] : [] }
      : { calls: request.messages[0]?.content === 'You help.' ? [log] : [log, help] },
  )
  shop.startAgent([], { subagents: SUBAGENTS })
  const runId = await shop.create({ ...config, tools: { exclude: ['git_log'] } })
  const records = await shop.until(runId, 'run_end')
  const results = records.flatMap((r) => (r.kind === 'tool_result' ? [r.payload] : []))
  expect(results[0]).toMatchObject({
    ...{ tool: 'git_log', outcome: 'rejected' },
    output: expect.stringMatching(/^There is no tool "git_log"\. The tools are: (?!.*git_log)/),
  })
  const { payload: started } = only(records, 'subagent_started')
  expect(started.config.tools).toEqual({ exclude: ['git_log'] })
  expect(shop.requests.length).toBeGreaterThan(3)
  for (const { tools } of shop.requests) {
    expect(tools).toContain('git_status')
    expect(tools).not.toContain('git_log')
  }
})
