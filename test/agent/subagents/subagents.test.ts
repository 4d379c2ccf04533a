import { mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { SubagentRules } from '../../../src/agent/subagents/subagents.ts'
import type { McpServer } from '../../../src/domain/mcp-servers.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import type { RunConfig, RunRequest } from '../../../src/domain/run-config.ts'
import type { Command } from '../../../src/runner/command.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import { only, payloadsOf, reachGoal, SUBAGENTS, Workshop } from '../support.ts'

const SEARCH = { instructions: 'Find the word.' }
const search = { tool: 'run_subagent', args: SEARCH }

const DONE = { text: 'Done.' }

type Call = { readonly tool: string; readonly args: Record<string, unknown> }

/** The parent makes these calls in its first turns, and then reaches its goal. Its sub-agents have a script of their own. */
function family(subagent: Script, ...turns: readonly (readonly Call[])[]): Script {
  const own = [...(turns.length === 0 ? [[search]] : turns), [reachGoal]]
  return (request) => {
    const isSubagent = JSON.stringify(request.messages).includes('# Instructions\\nFind the word.')
    const calls = own[request.turn]
    if (!isSubagent) return calls === undefined ? DONE : { calls }
    if (typeof subagent === 'function') return subagent(request)
    return subagent[request.turn] ?? DONE
  }
}

/** The tokens of the replies in these records. */
const tokensIn = (records: readonly RunRecord[]): number =>
  payloadsOf(records, 'llm_usage').reduce(
    (sum, { input_tokens, output_tokens }) => sum + input_tokens + output_tokens,
    0,
  )
/** Those before the first sub-agent. */
const tokensBefore = (records: readonly RunRecord[]): number =>
  tokensIn(
    records.slice(
      0,
      records.findIndex(({ kind }) => kind === 'subagent_started'),
    ),
  )

function startAgent(shop: Workshop, unfinished: readonly string[] = [], maxRunsAtWork = 16) {
  return shop.startAgent({
    unfinished,
    effects: { subagents: SUBAGENTS, toolbox: shop.toolbox },
    maxRunsAtWork,
  })
}

/** Starts an agent and a run. */
function begin(shop: Workshop, config: Partial<RunConfig> = {}): Promise<string> {
  startAgent(shop)
  return shop.create({ max_turns_per_iteration: 50, ...config })
}

/** The records of a run that has ended. */
const played = async (shop: Workshop, config: Partial<RunConfig> = {}) =>
  shop.until(await begin(shop, config), 'run_end')

const startOf = (records: readonly RunRecord[]) => only(records, 'subagent_started').payload
const resultOf = (records: readonly RunRecord[]) => payloadsOf(records, 'tool_result')[0]

test('an agent starts a run, waits for it, and reads its last words, its files and its usage', async () => {
  const usage = { input: 1000, output: 100 }
  await using shop = await Workshop.open(family([{ text: 'The word is elephant.', usage }]))
  const runId = await begin(shop)
  const records = await shop.until(runId, 'run_end')
  const { run_id: childId, call_id } = startOf(records)
  const child = await shop.records(childId)
  expect(only(child, 'run_created').payload).toMatchObject({
    instructions: 'Find the word.',
    parent: { run_id: runId, call_id, depth: 1 },
    config: { goal: 'instructions', cwd: shop.project },
  })
  expect(only(child, 'run_end').payload).toMatchObject({ status: 'achieved', iterations: 1 })
  expect(resultOf(records)).toMatchObject({ outcome: 'ok', subagent: { run_id: childId } })
  expect(resultOf(records)?.output).toContain('The word is elephant.')
  // What it uses counts as used by its parent.
  expect(resultOf(records)?.subagent).toMatchObject({ tokens: 1100, cost_usd: null })
  expect(only(records, 'run_end').payload).toMatchObject({
    total_tokens: tokensIn(records) + 1100,
    estimated_cost_usd: null,
  })
})

test('a sub-agent of a run that pauses at limits ends at its own', async () => {
  const busy = { calls: [{ tool: 'bash_exec', args: { command: 'date' } }] }
  const limited = { tool: 'run_subagent', args: { ...SEARCH, max_tokens: 1 } }
  await using shop = await Workshop.open(family([busy, busy], [limited]))
  const records = await played(shop, { on_limit: 'pause' })
  const { config, run_id } = startOf(records)
  expect(config).not.toHaveProperty('on_limit')
  const end = only(await shop.records(run_id), 'run_end').payload
  expect(end.reason).toContain('Stopped by max_tokens')
  expect(only(records, 'run_end').payload.status).toBe('achieved')
})

test('a sub-agent whose folder is swapped works in no other folder', async () => {
  const swap = 'cd ..; mv x y; mkdir outside; echo CANARY >outside/secret; ln -s outside x'
  const read = { calls: [{ tool: 'file_read', args: { path: 'secret' } }] }
  await using shop = await Workshop.open(
    family(
      [{ calls: [{ tool: 'bash_exec', args: { command: swap } }] }, read],
      [{ ...search, args: { ...SEARCH, folder: 'x' } }],
    ),
  )
  await mkdir(join(shop.project, 'x'))
  const records = await played(shop)
  const child = await shop.records(startOf(records).run_id)
  const { project } = only(child, 'run_created').payload
  expect(project).toMatchObject({ path: join(await realpath(shop.project), 'x') })
  const [, refused] = payloadsOf(child, 'tool_result')
  expect(refused).toMatchObject({ outcome: 'error' })
  expect(refused?.output).toMatch(/x is not the folder of this run any more: it leads to .*outside/)
})

test('a sub-agent gets at most what is left of the budget, and its parent ends when that is used up', async () => {
  const usage = { input: 900, output: 100 }
  const wasteful = { calls: [{ tool: 'file_list', args: {} }], usage }
  await using shop = await Workshop.open(family(() => wasteful))
  startAgent(shop)
  const limits = { max_tokens: 5_000, max_seconds: 600, max_turns_per_iteration: 50 }
  const records = await shop.until(await shop.create(limits), 'run_end')
  const { run_id, config } = startOf(records)
  const used = tokensBefore(records)
  expect(config.max_tokens).toBe(5_000 - used)
  expect(config.max_seconds).toBeLessThan(600)
  const end = only(await shop.records(run_id), 'run_end').payload
  expect(end).toMatchObject({ status: 'failed', reason: expect.stringContaining('max_tokens') })
  expect(only(records, 'run_end').payload).toMatchObject({
    status: 'failed',
    reason: expect.stringContaining('max_tokens'),
    total_tokens: used + end.total_tokens,
  })
})

/** A command that runs until its run ends. */
const endless = { tool: 'bash_exec', args: { command: 'sleep 1000' } }

test('an aborted sub-agent is a result for its parent, which continues', async () => {
  await using shop = await Workshop.open(family([{ calls: [endless] }]))
  const runId = await begin(shop)
  const { run_id: childId } = startOf(await shop.until(runId, 'subagent_started'))
  await shop.until(childId, 'tool_call')
  await shop.command(childId, { type: 'abort', reason: 'Too slow' })
  const records = await shop.until(runId, 'run_end')
  expect(resultOf(records)).toMatchObject({ outcome: 'error', subagent: { status: 'aborted' } })
  expect(resultOf(records)?.output).toContain('Too slow')
  expect(only(records, 'run_end').payload.status).toBe('achieved')
})

/** Several sub-agents in one reply, each with its own word. They have the same script. */
const triplets = (
  subagent: Script,
  extra: readonly Record<string, unknown>[] = [{}, {}, {}],
): Script =>
  family(
    subagent,
    extra.map((args, n) => ({
      tool: 'run_subagent',
      args: { instructions: `Find the word. It is number ${n}.`, ...args },
    })),
  )

const startsOf = (records: readonly RunRecord[]) => payloadsOf(records, 'subagent_started')
const resultsOf = (records: readonly RunRecord[]) =>
  records.flatMap((r) =>
    r.kind === 'tool_result' && r.payload.tool === 'run_subagent' ? [r.payload] : [],
  )
/** The calls, starts and results of sub-agents, in the order of their records. */
const course = (records: readonly RunRecord[]): string[] =>
  records.flatMap(({ kind, payload }) =>
    (kind === 'tool_call' || kind === 'tool_result') && payload.tool === 'run_subagent'
      ? [`${kind} ${payload.call_id}`]
      : kind === 'subagent_started'
        ? [`${kind} ${payload.call_id}`]
        : [],
  )

/** Waits until all three have begun. */
const together = {
  calls: [
    {
      tool: 'bash_exec',
      args: {
        command: 'touch $$.begun; until [ $(ls *.begun | wc -l) -ge 3 ]; do sleep 0.02; done',
      },
    },
  ],
  usage: { input: 100, output: 10 },
}

test('sub-agents of one reply work side by side, and are recorded in the order of their calls', async () => {
  await using shop = await Workshop.open(triplets([together]))
  // Runs that wait for sub-agents leave their turn. Here, each sub-agent needs a turn of its own.
  startAgent(shop, [], 3)
  const runId = await shop.create({ max_turns_per_iteration: 50, max_tokens: 30_000 })
  const records = await shop.until(runId, 'run_end')
  expect(only(records, 'run_end').payload.status).toBe('achieved')
  expect(course(records)).toEqual([
    ...['tool_call call_0_0', ...[0, 1, 2].map((n) => `subagent_started call_0_${n}`)],
    ...['tool_result call_0_0', 'tool_call call_0_1', 'tool_result call_0_1'],
    ...['tool_call call_0_2', 'tool_result call_0_2'],
  ])
  expect(resultsOf(records).map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok'])
  expect(resultsOf(records).map(({ subagent }) => subagent?.run_id)).toEqual(
    startsOf(records).map(({ run_id }) => run_id),
  )
})

test('together they get no more than what is left of the budget, and one that gets no share waits', async () => {
  await using shop = await Workshop.open(
    triplets(
      [{ text: 'Red.', usage: { input: 100, output: 10 } }],
      [{ max_tokens: 1_000 }, {}, {}],
    ),
  )
  startAgent(shop)
  const shared = await shop.until(
    await shop.create({ max_turns_per_iteration: 50, max_tokens: 40_000, max_iterations: 1 }),
    'run_end',
  )
  const limits = startsOf(shared).map(({ config }) => config.max_tokens ?? 0)
  const left = 40_000 - tokensBefore(shared)
  expect(limits[0]).toBe(1_000)
  expect(limits[1]).toBe(Math.floor((left - 1_000) / 2))
  expect(limits.reduce((sum, one) => sum + one)).toBeLessThanOrEqual(left)

  await using other = await Workshop.open(
    triplets(
      [{ text: 'Red.', usage: { input: 100, output: 10 } }],
      [{ max_tokens: 1_000_000 }, {}],
    ),
  )
  startAgent(other)
  const inTurn = await other.until(
    await other.create({ max_turns_per_iteration: 50, max_tokens: 40_000, max_iterations: 1 }),
    'run_end',
  )
  expect(course(inTurn)).toEqual([
    ...['tool_call call_0_0', 'subagent_started call_0_0', 'tool_result call_0_0'],
    ...['tool_call call_0_1', 'subagent_started call_0_1', 'tool_result call_0_1'],
  ])
  expect(resultsOf(inTurn).map(({ outcome }) => outcome)).toEqual(['ok', 'ok'])
})

test('after a stop in the middle, all sub-agents are found again, and none is started twice', async () => {
  const slow = {
    calls: [{ tool: 'bash_exec', args: { command: 'until test -e go; do sleep 0.02; done' } }],
  }
  await using shop = await Workshop.open(triplets([slow]))
  const first = startAgent(shop)
  const runId = await shop.create({ max_turns_per_iteration: 50 })
  const begun = await shop.until(runId, 'subagent_started')
  const all = await shop.until(runId, 'subagent_started', begun.length)
  const ids = startsOf(all).map(({ run_id }) => run_id)
  await Promise.all(ids.map((id) => shop.until(id, 'tool_call')))
  await first.stop()
  await shop.file('go', '')
  startAgent(shop, [runId, ...ids])
  const records = await shop.until(runId, 'run_end')
  expect(startsOf(records).map(({ run_id }) => run_id)).toEqual(ids)
  expect(resultsOf(records).map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok'])
})

test('an aborted parent aborts all its sub-agents, has a result for each, and counts what they used', async () => {
  const usage = { input: 1000, output: 100 }
  await using shop = await Workshop.open(triplets([{ calls: [endless], usage }]))
  const runId = await begin(shop)
  const begun = await shop.until(runId, 'subagent_started')
  const ids = startsOf(await shop.until(runId, 'subagent_started', begun.length)).map(
    ({ run_id }) => run_id,
  )
  await Promise.all(ids.map((id) => shop.until(id, 'tool_call')))
  await shop.command(runId, { type: 'abort', reason: 'Enough' })
  const records = await shop.records(runId)
  expect(resultsOf(records)).toMatchObject(
    ids.map((run_id) => ({
      ...{ outcome: 'aborted', subagent: { run_id, status: 'running', tokens: 1100 } },
    })),
  )
  const { total_tokens, subagents } = only(records, 'run_end').payload
  expect(total_tokens).toBeGreaterThan(3300)
  expect(subagents).toEqual(ids)
  for (const id of ids) {
    const ended = await shop.until(id, 'run_end')
    expect(only(ended, 'run_end').payload).toMatchObject({
      ...{ status: 'aborted', reason: expect.stringContaining(runId) },
    })
  }
})

test('a sub-agent has a check of its own, and its own copies of the MCP servers that its parent names', async () => {
  const server: McpServer = {
    ...{ name: 'docs', source: 'configuration', command: 'docs', required: false },
    ...{ on_change: 'stop', trust_hints: true, start_timeout_s: 60, call_timeout_s: 120 },
  }
  const asked: RunRequest[] = []
  const call = (mcp_servers: readonly string[]) => ({
    tool: 'run_subagent',
    args: { ...SEARCH, check: { command: 'test -f found' }, mcp_servers },
  })
  await using shop = await Workshop.open(
    family([{ text: 'It is red.' }], [call(['docs', 'other'])], [call(['docs'])]),
  )
  const planRun: SubagentRules['planRun'] = (request) => {
    asked.push(request)
    return SUBAGENTS.planRun(request)
  }
  shop.startAgent({ effects: { subagents: { ...SUBAGENTS, planRun }, toolbox: shop.toolbox } })
  const runId = await shop.create({ max_turns_per_iteration: 50, mcp_servers: [server] })
  const records = await shop.until(runId, 'subagent_started')
  expect(resultOf(records)?.output).toBe('You have no MCP server other to give. Yours: docs.')
  expect(asked).toMatchObject([
    {
      check: { command: 'test -f found', conditions: { exit_code: 0 } },
      mcp_servers: [{ name: 'docs', required: false, on_change: 'stop' }],
    },
  ])
  expect(asked[0]).not.toHaveProperty('goal')
  await shop.command(runId, { type: 'abort', reason: null })
})

test('a sub-agent whose parent was aborted while no server ran is aborted at the start', async () => {
  await using shop = await Workshop.open(family([{ calls: [endless] }]))
  const first = startAgent(shop)
  const runId = await shop.create({ max_turns_per_iteration: 50 })
  const { run_id: childId } = startOf(await shop.until(runId, 'subagent_started'))
  await shop.until(childId, 'tool_call')
  await first.stop()
  await shop.command(runId, { type: 'abort', reason: null })
  const [last] = (
    await shop.store.readStream(`run-${runId}`, { from: 'end', direction: 'backward', limit: 1 })
  )._unsafeUnwrap()
  shop.startAgent({
    unfinished: [childId],
    effects: { subagents: SUBAGENTS },
    after: last?.position ?? null,
  })
  const child = await shop.until(childId, 'run_end')
  expect(only(child, 'run_end').payload.status).toBe('aborted')
})

test('a sub-agent asks people if its parent does, and its parent leaves its turn to it meanwhile', async () => {
  await using shop = await Workshop.open(
    family(
      () => ({ calls: [{ tool: 'file_list', args: {} }] }),
      [{ ...search, args: { ...SEARCH, max_iterations: 2 } }],
    ),
  )
  startAgent(shop, [], 1)
  const runId = await shop.create({ max_turns_per_iteration: 1, hitl_enabled: true })
  const { run_id: childId } = startOf(await shop.until(runId, 'subagent_started'))
  await shop.until(childId, 'human_check_required')
  const answer = { type: 'respond', decision: 'abort', reason: 'No need', answers: null } as const
  await shop.command(childId, answer)
  const records = await shop.until(runId, 'human_check_required')
  expect(resultOf(records)?.subagent?.status).toBe('aborted')
  await shop.command(runId, { type: 'abort', reason: null })
})

test('rules about paths hold in the folders of sub-agents as in the project of their family', async () => {
  const deeper = { instructions: 'Find the word. And deeper.', folder: 'workflows' }
  const script: Script = ({ messages, turn }) => {
    const isDeeper = JSON.stringify(messages).includes(
      '# Instructions\\nFind the word. And deeper.',
    )
    const path = isDeeper ? 'b.yml' : 'a.yml'
    const write = { tool: 'file_write', args: { path, content: 'x' } }
    const calls = [write, ...(isDeeper ? [] : [{ tool: 'run_subagent', args: deeper }])]
    return turn === 0 ? { calls } : { text: 'Done.' }
  }
  const args = { ...SEARCH, folder: '.github' }
  await using shop = await Workshop.open(family(script, [{ tool: 'run_subagent', args }]))
  await shop.file('.github/workflows/c.yml', '')
  startAgent(shop)
  const rule = { tool: 'file_*', path: '.github/**', action: 'deny' } as const
  const runId = await shop.create({ max_turns_per_iteration: 50, approvals: [rule] })
  const { run_id: childId } = startOf(await shop.until(runId, 'run_end'))
  const child = await shop.records(childId)
  const grandchild = await shop.records(startOf(child).run_id)
  expect(only(grandchild, 'run_created').payload.config.cwd).toMatch(/\.github\/workflows$/)
  expect([resultOf(child)?.outcome, resultOf(grandchild)?.outcome]).toEqual(['denied', 'denied'])
})

test('no sub-agent is started whose check a rule forbids', async () => {
  const args = { ...SEARCH, check: { command: 'touch checked' } }
  await using shop = await Workshop.open(family([], [{ tool: 'run_subagent', args }]))
  startAgent(shop)
  const rule = { command: 'touch checked', action: 'deny' } as const
  const runId = await shop.create({ max_turns_per_iteration: 50, approvals: [rule] })
  const records = await shop.until(runId, 'run_end')
  expect(records.some(({ kind }) => kind === 'subagent_started')).toBe(false)
  expect(resultOf(records)?.outcome).toBe('denied')
})

test.each([
  ['a folder outside of the project', { folder: '..' }, 'outside'],
  ['no instructions', { instructions: '' }, 'not valid'],
])('a call with %s starts nothing, and its result says why', async (_, args, why) => {
  const call = { tool: 'run_subagent', args: { ...SEARCH, ...args } }
  await using shop = await Workshop.open(family([], [call]))
  const records = await played(shop)
  expect(records.some(({ kind }) => kind === 'subagent_started')).toBe(false)
  expect(resultOf(records)?.output).toContain(why)
})

test('agents start no more sub-agents, and no deeper ones, than the server allows', async () => {
  const nested: Script = ({ messages }) =>
    messages.some(({ role }) => role === 'tool')
      ? { text: messages.at(-1)?.content ?? '' }
      : { calls: [search] }
  await using shop = await Workshop.open(family(nested))
  const records = await played(shop)
  const child = await shop.records(startOf(records).run_id)
  const grandchild = await shop.records(startOf(child).run_id)
  expect(only(grandchild, 'run_created').payload.parent?.depth).toBe(2)
  expect(resultOf(grandchild)?.output).toContain('start no sub-agents')
})

test('only the first check of a run makes the home of its checks, and sub-agents use the same home', async () => {
  const check = { tool: 'run_subagent', args: { ...SEARCH, goal: 'make-test' } }
  await using shop = await Workshop.open(family([{ text: 'Done.' }], [check]))
  const checks: Pick<Command, 'file' | 'checkHome' | 'run' | 'env'>[] = []
  shop.startAgent({
    effects: {
      ...{ subagents: SUBAGENTS, toolbox: shop.toolbox, variables: { GOFLAGS: '-mod=mod' } },
      runCommand: ({ ...command }) => {
        checks.push(command)
        return runCommand(command)
      },
    },
  })
  const runId = await shop.create({ max_turns_per_iteration: 50 })
  await shop.until(runId, 'run_end')
  expect(checks.map(({ file, checkHome }) => [file, checkHome])).toEqual([
    ['bash', { run: runId, makes: true }],
    ['make', { run: runId, makes: false }],
    ['bash', { run: runId, makes: false }],
  ])
  // Results of Go's tests that are stored in the home decide nothing, and flags that the server passes on stay.
  expect(checks[0]).toMatchObject({ env: { GOFLAGS: '-mod=mod -count=1' } })
  expect(checks.every(({ run }) => run === undefined)).toBe(true)
})
