import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { SubagentRules } from '../../../src/agent/subagents/subagents.ts'
import type { McpServer } from '../../../src/domain/mcp-servers.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import type { RunConfig, RunRequest } from '../../../src/domain/run-config.ts'
import type { Command, RunCommand } from '../../../src/runner/command.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import { only, payloadsOf, played, reachGoal, SUBAGENTS, Workshop } from '../support.ts'

/** A call that starts a sub-agent. */
const asking = (args: Readonly<Record<string, unknown>> = {}) => {
  return { tool: 'run_subagent', args: { instructions: 'Find the word.', ...args } }
}
const search = asking()

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
function tokensBefore(records: readonly RunRecord[]): number {
  const first = records.findIndex(({ kind }) => kind === 'subagent_started')
  return tokensIn(records.slice(0, first))
}

const effects = { subagents: SUBAGENTS }
const TURNS = { max_turns_per_iteration: 50 }

/** Starts an agent and a run. */
function begin(shop: Workshop, config: Partial<RunConfig> = {}): Promise<string> {
  shop.startAgent({ effects })
  return shop.create({ ...TURNS, ...config })
}

/** A run of this script, to its end. */
const playedBy = (script: Script, config: Partial<RunConfig> = {}, files = {}) =>
  played(script, { ...TURNS, ...config }, effects, files)

const startOf = (records: readonly RunRecord[]) => only(records, 'subagent_started').payload
const resultOf = (records: readonly RunRecord[]) => payloadsOf(records, 'tool_result')[0]

test('an agent starts a run, waits for it, and reads its last words, its files and its usage', async () => {
  const usage = { input: 1000, output: 100 }
  const script = family([{ text: 'The word is elephant.', usage }])
  const { shop, records, end } = await playedBy(script)
  const { run_id: childId, call_id } = startOf(records)
  const child = await shop.records(childId)
  expect(only(child, 'run_created').payload).toMatchObject({
    instructions: 'Find the word.',
    parent: { run_id: records[0]?.run_id, call_id, depth: 1 },
    config: { goal: 'instructions', cwd: shop.project },
  })
  expect(only(child, 'run_end').payload).toMatchObject({ status: 'achieved', iterations: 1 })
  expect(resultOf(records)).toMatchObject({ outcome: 'ok', subagent: { run_id: childId } })
  expect(resultOf(records)?.output).toContain('The word is elephant.')
  // What it uses counts as used by its parent.
  expect(resultOf(records)?.subagent).toMatchObject({ tokens: 1100, cost_usd: null })
  expect(end).toMatchObject({ total_tokens: tokensIn(records) + 1100, estimated_cost_usd: null })
})

test('a sub-agent of a run that pauses at limits ends at its own', async () => {
  const busy = { calls: [{ tool: 'bash_exec', args: { command: 'date' } }] }
  const script = family([busy, busy], [asking({ max_tokens: 1 })])
  const { shop, records, end } = await playedBy(script, { on_limit: 'pause' })
  const { config, run_id } = startOf(records)
  expect(config).not.toHaveProperty('on_limit')
  const { reason } = only(await shop.records(run_id), 'run_end').payload
  expect(reason).toContain('Stopped by max_tokens')
  expect(end.status).toBe('achieved')
})

test('a sub-agent whose folder is swapped works in no other folder', async () => {
  const swap = 'cd ..; mv x y; mkdir outside; echo CANARY >outside/secret; ln -s outside x'
  const read = { calls: [{ tool: 'file_read', args: { path: 'secret' } }] }
  const script = family(
    [{ calls: [{ tool: 'bash_exec', args: { command: swap } }] }, read],
    [asking({ folder: 'x' })],
  )
  const { shop, records } = await playedBy(script, {}, { 'x/file': '' })
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
  const limits = { max_tokens: 5_000, max_seconds: 600 }
  const { shop, records, end } = await playedBy(
    family(() => wasteful),
    limits,
  )
  const { run_id, config } = startOf(records)
  const used = tokensBefore(records)
  expect(config.max_tokens).toBe(5_000 - used)
  expect(config.max_seconds).toBeLessThan(600)
  const ofChild = only(await shop.records(run_id), 'run_end').payload
  const atLimit = { status: 'failed', reason: expect.stringContaining('max_tokens') }
  expect(ofChild).toMatchObject(atLimit)
  expect(end).toMatchObject({ ...atLimit, total_tokens: used + ofChild.total_tokens })
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
    extra.map((args, n) => asking({ instructions: `Find the word. It is number ${n}.`, ...args })),
  )

const startsOf = (records: readonly RunRecord[]) => payloadsOf(records, 'subagent_started')
const resultsOf = (records: readonly RunRecord[]) =>
  payloadsOf(records, 'tool_result').filter(({ tool }) => tool === 'run_subagent')
/** The calls, starts and results of sub-agents, in the order of their records. */
const course = (records: readonly RunRecord[]): string[] =>
  records.flatMap(({ kind, payload }) => {
    const isCall = (kind === 'tool_call' || kind === 'tool_result') && payload.tool === search.tool
    return isCall || kind === 'subagent_started' ? [`${kind} ${payload.call_id}`] : []
  })

/** Waits until all three have begun. */
const ALL_BEGUN = 'touch $$.begun; until [ $(ls *.begun | wc -l) -ge 3 ]; do sleep 0.02; done'
const together = {
  calls: [{ tool: 'bash_exec', args: { command: ALL_BEGUN } }],
  usage: { input: 100, output: 10 },
}

test('sub-agents of one reply work side by side, and are recorded in the order of their calls', async () => {
  await using shop = await Workshop.open(triplets([together]))
  // Runs that wait for sub-agents leave their turn. Here, each sub-agent needs a turn of its own.
  shop.startAgent({ effects, maxRunsAtWork: 3 })
  const runId = await shop.create({ ...TURNS, max_tokens: 30_000 })
  const records = await shop.until(runId, 'run_end')
  expect(only(records, 'run_end').payload.status).toBe('achieved')
  expect(course(records)).toEqual([
    'tool_call call_0_0',
    ...[0, 1, 2].map((n) => `subagent_started call_0_${n}`),
    'tool_result call_0_0',
    'tool_call call_0_1',
    'tool_result call_0_1',
    'tool_call call_0_2',
    'tool_result call_0_2',
  ])
  expect(resultsOf(records).map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok'])
  expect(resultsOf(records).map(({ subagent }) => subagent?.run_id)).toEqual(
    startsOf(records).map(({ run_id }) => run_id),
  )
})

test('together they get no more than what is left of the budget, and one that gets no share waits', async () => {
  const red: Script = [{ text: 'Red.', usage: { input: 100, output: 10 } }]
  const limited = { max_tokens: 40_000, max_iterations: 1 }
  const { records } = await playedBy(triplets(red, [{ max_tokens: 1_000 }, {}, {}]), limited)
  const limits = startsOf(records).map(({ config }) => config.max_tokens ?? 0)
  const left = 40_000 - tokensBefore(records)
  expect(limits[0]).toBe(1_000)
  expect(limits[1]).toBe(Math.floor((left - 1_000) / 2))
  expect(limits.reduce((sum, one) => sum + one)).toBeLessThanOrEqual(left)

  const greedy = triplets(red, [{ max_tokens: 1_000_000 }, {}])
  const { records: inTurn } = await playedBy(greedy, limited)
  expect(course(inTurn)).toEqual([
    'tool_call call_0_0',
    'subagent_started call_0_0',
    'tool_result call_0_0',
    'tool_call call_0_1',
    'subagent_started call_0_1',
    'tool_result call_0_1',
  ])
  expect(resultsOf(inTurn).map(({ outcome }) => outcome)).toEqual(['ok', 'ok'])
})

/** The ids of three sub-agents, once each of them is in a call. */
async function allAtWork(shop: Workshop, runId: string): Promise<string[]> {
  const begun = await shop.until(runId, 'subagent_started')
  const all = startsOf(await shop.until(runId, 'subagent_started', begun.length))
  const ids = all.map(({ run_id }) => run_id)
  await Promise.all(ids.map((id) => shop.until(id, 'tool_call')))
  return ids
}

test('after a stop in the middle, all sub-agents are found again, and none is started twice', async () => {
  const slow = {
    calls: [{ tool: 'bash_exec', args: { command: 'until test -e go; do sleep 0.02; done' } }],
  }
  await using shop = await Workshop.open(triplets([slow]))
  const first = shop.startAgent({ effects })
  const runId = await shop.create(TURNS)
  const ids = await allAtWork(shop, runId)
  await first.stop()
  await shop.file('go', '')
  shop.startAgent({ effects, unfinished: [runId, ...ids] })
  const records = await shop.until(runId, 'run_end')
  expect(startsOf(records).map(({ run_id }) => run_id)).toEqual(ids)
  expect(resultsOf(records).map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok'])
})

test('an aborted parent aborts all its sub-agents, has a result for each, and counts what they used', async () => {
  const usage = { input: 1000, output: 100 }
  await using shop = await Workshop.open(triplets([{ calls: [endless], usage }]))
  const runId = await begin(shop)
  const ids = await allAtWork(shop, runId)
  await shop.command(runId, { type: 'abort', reason: 'Enough' })
  const records = await shop.records(runId)
  const running = { status: 'running', tokens: 1100 }
  expect(resultsOf(records)).toMatchObject(
    ids.map((run_id) => ({ outcome: 'aborted', subagent: { run_id, ...running } })),
  )
  const { total_tokens, subagents } = only(records, 'run_end').payload
  expect(total_tokens).toBeGreaterThan(3300)
  expect(subagents).toEqual(ids)
  for (const id of ids) {
    const ended = await shop.until(id, 'run_end')
    expect(only(ended, 'run_end').payload).toMatchObject({
      status: 'aborted',
      reason: expect.stringContaining(runId),
    })
  }
})

test('a sub-agent has a check of its own, and its own copies of the MCP servers that its parent names', async () => {
  const server: McpServer = {
    name: 'docs',
    source: 'configuration',
    command: 'docs',
    required: false,
    on_change: 'stop',
    trust_hints: true,
    start_timeout_s: 60,
    call_timeout_s: 120,
  }
  const asked: RunRequest[] = []
  const call = (...mcp_servers: readonly string[]) =>
    asking({ check: { command: 'test -f found' }, mcp_servers })
  await using shop = await Workshop.open(
    family([{ text: 'It is red.' }], [call('docs', 'other')], [call('docs')]),
  )
  const planRun: SubagentRules['planRun'] = (request) => {
    asked.push(request)
    return SUBAGENTS.planRun(request)
  }
  shop.startAgent({ effects: { subagents: { ...SUBAGENTS, planRun } } })
  const runId = await shop.create({ ...TURNS, mcp_servers: [server] })
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
  const first = shop.startAgent({ effects })
  const runId = await shop.create(TURNS)
  const { run_id: childId } = startOf(await shop.until(runId, 'subagent_started'))
  await shop.until(childId, 'tool_call')
  await first.stop()
  await shop.command(runId, { type: 'abort', reason: null })
  const end = { from: 'end', direction: 'backward', limit: 1 } as const
  const [last] = (await shop.store.readStream(`run-${runId}`, end))._unsafeUnwrap()
  shop.startAgent({ unfinished: [childId], effects, after: last?.position ?? null })
  const child = await shop.until(childId, 'run_end')
  expect(only(child, 'run_end').payload.status).toBe('aborted')
})

test('a sub-agent asks people if its parent does, and its parent leaves its turn to it meanwhile', async () => {
  await using shop = await Workshop.open(
    family(() => ({ calls: [{ tool: 'file_list', args: {} }] }), [asking({ max_iterations: 2 })]),
  )
  shop.startAgent({ effects, maxRunsAtWork: 1 })
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
  const deeper = asking({ instructions: 'Find the word. And deeper.', folder: 'workflows' })
  const script: Script = ({ messages, turn }) => {
    const isDeeper = JSON.stringify(messages).includes(
      '# Instructions\\nFind the word. And deeper.',
    )
    const path = isDeeper ? 'b.yml' : 'a.yml'
    const write = { tool: 'file_write', args: { path, content: 'x' } }
    return turn === 0 ? { calls: isDeeper ? [write] : [write, deeper] } : DONE
  }
  const { shop, records } = await playedBy(
    family(script, [asking({ folder: '.github' })]),
    { approvals: [{ tool: 'file_*', path: '.github/**', action: 'deny' }] },
    { '.github/workflows/c.yml': '' },
  )
  const child = await shop.records(startOf(records).run_id)
  const grandchild = await shop.records(startOf(child).run_id)
  expect(only(grandchild, 'run_created').payload.config.cwd).toMatch(/\.github\/workflows$/)
  expect([resultOf(child)?.outcome, resultOf(grandchild)?.outcome]).toEqual(['denied', 'denied'])
})

test.each<[string, object, string, string, Partial<RunConfig>?]>([
  ['a folder outside of the project', { folder: '..' }, 'error', 'outside'],
  ['no instructions', { instructions: '' }, 'rejected', 'not valid'],
  [
    'a check that a rule forbids',
    { check: { command: 'touch checked' } },
    'denied',
    '',
    { approvals: [{ command: 'touch checked', action: 'deny' }] },
  ],
])(
  'a call with %s starts nothing, and its result says why',
  async (_, args, outcome, why, config) => {
    const { records, results } = await playedBy(family([], [asking({ ...args })]), config)
    expect(records.some(({ kind }) => kind === 'subagent_started')).toBe(false)
    expect(results[0]).toMatchObject({ outcome, output: expect.stringContaining(why) })
  },
)

test('agents start no more sub-agents, and no deeper ones, than the server allows', async () => {
  const nested: Script = ({ messages }) =>
    messages.some(({ role }) => role === 'tool')
      ? { text: messages.at(-1)?.content ?? '' }
      : { calls: [search] }
  const { shop, records } = await playedBy(family(nested))
  const child = await shop.records(startOf(records).run_id)
  const grandchild = await shop.records(startOf(child).run_id)
  expect(only(grandchild, 'run_created').payload.parent?.depth).toBe(2)
  expect(resultOf(grandchild)?.output).toContain('start no sub-agents')
})

test('only the first check of a run makes the home of its checks, and sub-agents use the same home', async () => {
  const check = asking({ goal: 'make-test' })
  const checks: Pick<Command, 'file' | 'checkHome' | 'run' | 'env'>[] = []
  const noting: RunCommand = (command) => {
    checks.push(command)
    return runCommand(command)
  }
  const variables = { GOFLAGS: '-mod=mod' }
  const { records } = await played(family([DONE], [check]), TURNS, {
    ...effects,
    variables,
    runCommand: noting,
  })
  const run = records[0]?.run_id
  expect(checks.map(({ file, checkHome }) => [file, checkHome])).toEqual([
    ['bash', { run, makes: true }],
    ['make', { run, makes: false }],
    ['bash', { run, makes: false }],
  ])
  // Results of Go's tests that are stored in the home decide nothing, and flags that the server passes on stay.
  expect(checks[0]).toMatchObject({ env: { GOFLAGS: '-mod=mod -count=1' } })
  expect(checks.every(({ run }) => run === undefined)).toBe(true)
})
