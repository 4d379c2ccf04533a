import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import type { RunRecord } from '../../../src/domain/records.ts'
import { brief } from '../../domain/support.ts'
import { expectAllDead, pidsIn } from '../../runner/support.ts'
import { only, payloadsOf, played, reachGoal, Workshop } from '../support.ts'

const kinds = (records: readonly RunRecord[]) =>
  records.map((record) => brief(record).replace(/ call_\S+| chatcmpl\S+/, ''))

/** Resolves when the model was asked. */
const asked = (shop: Workshop) =>
  vi.waitFor(() => expect(shop.requests).not.toEqual([]), { timeout: 20_000, interval: 5 })

test('a run repeats plan, act and evaluate until the goal is reached', async () => {
  const { shop, records, end } = await played([
    { text: 'I look first.', calls: [{ tool: 'file_list', args: {} }] },
    { calls: [reachGoal] },
  ])
  const ofIteration = (n: number) =>
    records.flatMap(({ iteration, kind }) => (iteration === n ? [kind] : [])).join(' ')
  expect([0, 1, 2].map(ofIteration)).toEqual([
    'run_created run_claimed',
    'step_start snapshot llm_usage assistant_message step_start tool_call tool_result step_start goal_check iteration_complete',
    'step_start llm_usage assistant_message step_start tool_call tool_result snapshot step_start goal_check iteration_complete run_end',
  ])
  expect(end).toMatchObject({ achieved: true, iterations: 2 })
  expect(existsSync(join(shop.project, 'done'))).toBe(true)
  const ends = () => shop.logged.filter(({ message }) => message === 'run ended')
  await vi.waitFor(() => expect(ends()).toMatchObject([{ fields: { status: 'achieved' } }]))
})

test('runs beyond the limit wait for their turn, in order', async () => {
  await using shop = await Workshop.open([{ calls: [reachGoal] }])
  shop.startAgent({ maxRunsAtWork: 1 })
  const ids: string[] = []
  for (let n = 0; n < 4; n += 1) ids.push(await shop.create())
  const runs = await Promise.all(ids.map((id) => shop.until(id, 'run_end')))
  const times = runs.flatMap((all) => [only(all, 'run_claimed').ts, only(all, 'run_end').ts])
  expect(times).toEqual(times.toSorted((a, b) => a - b))
})

describe('people', () => {
  test('are asked, and the run continues after their answer', async () => {
    await using shop = await Workshop.open([{}, { calls: [reachGoal] }])
    shop.startAgent()
    const runId = await shop.create({ hitl_enabled: true })
    const asked = await shop.until(runId, 'human_check_required')
    expect(shop.requests).toHaveLength(1)
    const answer = { reason: 'mind the tests', answers: asked.length - 1 }
    await shop.command(runId, { type: 'respond', decision: 'approve', ...answer })
    const records = await shop.until(runId, 'run_end')
    expect(only(records, 'run_end').payload.status).toBe('achieved')
    expect(JSON.stringify(shop.requests[1])).toContain('mind the tests')
    expect(records.filter(({ kind }) => kind === 'run_claimed')).toHaveLength(1)
  })

  test('abort a run while its command runs: the command ends, and nothing is recorded after run_end', async () => {
    await using shop = await Workshop.open([
      { calls: [{ tool: 'bash_exec', args: { command: 'echo $$ > pid; exec sleep 600' } }] },
    ])
    const agent = shop.startAgent()
    const runId = await shop.create()
    await shop.until(runId, 'tool_call')
    const pids = await pidsIn(join(shop.project, 'pid'), 1)
    await shop.command(runId, { type: 'abort', reason: 'enough' })
    await expectAllDead(pids)
    await agent.stop()
    const records = await shop.records(runId)
    expect(kinds(records).slice(-2)).toEqual(['1 tool_result aborted', '1 run_end aborted'])
  })
})

describe('after a process stops, another process that takes over its runs', () => {
  test('asks the model again if there is no reply', async () => {
    await using shop = await Workshop.open([{ calls: [reachGoal], first: [{ fault: 'hang' }] }])
    const records = await shop.restarted(() => asked(shop))
    expect(records.filter(({ kind }) => kind === 'run_claimed')).toHaveLength(2)
    expect(only(records, 'run_end').payload).toMatchObject({ status: 'achieved', iterations: 1 })
  })

  test('never repeats a call that may have changed something', async () => {
    const command = 'echo ran >> runs; test -f go || exec sleep 600'
    await using shop = await Workshop.open([
      { calls: [{ tool: 'bash_exec', args: { command } }] },
      { calls: [reachGoal] },
    ])
    const runs = () => readFile(join(shop.project, 'runs'), 'utf8')
    const hasRun = () => vi.waitFor(async () => expect(await runs()).toBe('ran\n'), 20_000)
    const records = await shop.restarted(hasRun, {}, () => shop.file('go', ''))
    const results = payloadsOf(records, 'tool_result')
    expect(results[0]).toMatchObject({ outcome: 'unknown', exit_code: null })
    expect(await runs()).toBe('ran\n')
    expect(JSON.stringify(shop.requests[1])).toContain('unknown')
  })

  test('the first process stops its work and its command', async () => {
    await using shop = await Workshop.open([
      { calls: [{ tool: 'bash_exec', args: { command: 'echo $$ > pid; exec sleep 600' } }] },
      { calls: [reachGoal] },
    ])
    shop.startAgent()
    const runId = await shop.create()
    const pids = await pidsIn(join(shop.project, 'pid'), 1)
    shop.startAgent({ unfinished: [runId] })
    const records = await shop.until(runId, 'run_end')
    await expectAllDead(pids)
    expect(only(records, 'run_end').payload.status).toBe('achieved')
  })
})

test('an exception in an effect ends the run with that error', async () => {
  const findGoal = () => {
    throw new Error('the table of goals burned down')
  }
  const { records } = await played([{}], {}, { findGoal })
  const { message, traceback } = only(records, 'error').payload
  expect(message).toBe('the table of goals burned down')
  expect(traceback).toContain('supervisor.test.ts')
})

test('an exception outside of a step also ends the run with that error, and its call is not run again', async () => {
  let asked = 0
  const untilAvailable = async () => {
    asked += 1
    // The first step asks the model, the second is its call.
    if (asked === 2) throw new Error('the meter burned down')
    return true
  }
  const { shop, records, results, end } = await played(
    [{ calls: [reachGoal] }],
    {},
    { untilAvailable },
  )
  expect(only(records, 'error').payload.message).toBe('the meter burned down')
  expect(results.map(({ outcome }) => outcome)).toEqual(['unknown'])
  expect(end.status).toBe('failed')
  expect(existsSync(join(shop.project, 'done'))).toBe(false)
})

test('an exception before a run is claimed is logged, and the run is tried again', async () => {
  let failures = 3
  const obstacle = async () => {
    failures -= 1
    if (failures > 0) throw new Error('the folder burned down')
    return null
  }
  const { shop, end } = await played([{ calls: [reachGoal] }], {}, { obstacle })
  expect(end.status).toBe('achieved')
  const logged = shop.logged.filter(({ message }) => message.includes('cannot begin'))
  expect(logged).toHaveLength(2)
})

test('whatever a command reports beside its result is recorded, however much it is', async () => {
  const hooks = Array.from({ length: 3_000 }, (_, n) => `.git/hooks/${n}-${'x'.repeat(400)}`)
  const { records } = await played([{ calls: [reachGoal] }], {}, ({ toolbox }) => ({
    toolbox: {
      ...toolbox,
      execute: async (call, context) => {
        const result = await toolbox.execute(call, context)
        for (const path of hooks)
          context.onNotice?.({ kind: 'guard_changed', payload: { path, sha256: null } })
        return result
      },
    },
  }))
  const paths = payloadsOf(records, 'guard_changed').map(({ path }) => path)
  expect(paths).toEqual(hooks)
})

test('a run whose project contains the data folder ends when it is claimed, with advice, before any work', async () => {
  const inside = ({ project }: Workshop) => ({ dataDir: join(project, '.retrai') })
  const files = { '.retrai/log': '' }
  const { shop, records } = await played([{ calls: [reachGoal] }], {}, inside, files)
  const { message } = only(records, 'error').payload
  expect(message).toContain(`${shop.project} contains the server's data folder`)
  expect(message).toContain('--data-dir')
  expect(shop.requests).toEqual([])
})

test('what the commands of a run have left is removed at its end, whether it is worked on or waits', async () => {
  await using shop = await Workshop.open(({ conversation }) =>
    conversation.includes('/busy') ? { calls: [{ tool: 'bash_exec', args: SLEEP }] } : {},
  )
  const forgotten: string[] = []
  const forgetRun = async (runId: string) => {
    forgotten.push(runId)
  }
  shop.startAgent({ effects: { forgetRun }, maxRunsAtWork: 1 })
  const failed = await shop.create({ max_iterations: 1 })
  await shop.until(failed, 'run_end')
  const waiting = await shop.create(ASKED)
  const answered = await shop.create(ASKED)
  await shop.until(waiting, 'human_check_required')
  await shop.until(answered, 'human_check_required')
  await mkdir(join(shop.project, 'busy'))
  const busy = await shop.create({ cwd: join(shop.project, 'busy') })
  await shop.until(busy, 'tool_call')
  // Without a turn, nobody has read this answer yet.
  const approve = { decision: 'approve', reason: null, answers: null } as const
  await shop.command(answered, { type: 'respond', ...approve })
  for (const runId of [waiting, answered, busy]) {
    await shop.command(runId, { type: 'abort', reason: null })
  }
  await vi.waitFor(() => {
    expect(new Set(forgotten)).toEqual(new Set([failed, waiting, answered, busy]))
  }, 10_000)
})

const SLEEP = { command: 'sleep 600' }
const ASKED = { hitl_enabled: true }
