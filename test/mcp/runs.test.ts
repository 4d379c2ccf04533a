import { describe, expect, test, vi } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import type { McpServer } from '../../src/domain/mcp-servers.ts'
import { only, payloadsOf, played, reachGoal, Workshop } from '../agent/support.ts'
import { fixture, opened, seenBy, withServers } from './support.ts'

/** Programs start slowly on a busy machine. */
const WITHIN = { timeout: 20_000 }
const turns = { max_turns_per_iteration: 20 }
const call = (tool: string, args: Record<string, unknown> = {}) => {
  return { calls: [{ tool: `mcp__fix__${tool}`, args }] }
}

/** A run with these servers, to its end. */
async function playedWith(script: Script, server: McpServer) {
  const run = await played(script, { ...turns, mcp_servers: [server] }, withServers())
  return { ...run, listed: payloadsOf(run.records, 'mcp_tools_listed') }
}

test('the tools of a server are listed before the first request, which holds them, and called', async () => {
  const calls = [
    call('look', { word: 'a tree' }),
    ...['fail', 'all', 'nothing', 'big'].map((n) => call(n)),
  ]
  const { shop, records, listed, results } = await playedWith(
    [...calls, { calls: [reachGoal] }],
    fixture('good'),
  )
  const kinds = records.map(({ kind }) => kind)
  expect(kinds.indexOf('mcp_tools_listed')).toBe(kinds.indexOf('llm_usage') - 1)
  expect(listed).toMatchObject([
    { server: 'fix', transport: 'stdio', server_name: 'fixture', server_version: '1.2.3' },
  ])
  expect(listed[0]?.tools.map(({ name }) => name)).toContain('mcp__fix__look')
  expect(listed[0]?.tools.every(({ read_only }) => !read_only)).toBe(true)
  expect(shop.requests[0]?.tools).toEqual(expect.arrayContaining(['mcp__fix__look', 'bash_exec']))
  const [look, fail, all, nothing, big] = results
  expect(look).toMatchObject({ outcome: 'ok', output: 'You see a tree.', exit_code: 0 })
  expect(fail).toMatchObject({ outcome: 'error', output: 'It did not work.' })
  expect(all?.output.split('\n')).toEqual([
    'words',
    '[image, image/png, 3 bytes: not shown]',
    '[resource file:///a]',
    'inside',
    '[resource file:///b, x/y, 3 bytes: not shown]',
    '[link to file:///c, text/plain, 7 bytes] c',
    '{"found":3}',
  ])
  expect(nothing).toMatchObject({ outcome: 'rejected' })
  expect(big).toMatchObject({ bytes: 100_000, truncated: true })
  expect(big?.sha256).toMatch(/^[0-9a-f]{64}$/)
  await vi.waitFor(async () => {
    const seen = await seenBy(shop)
    expect([seen[0], seen[1], seen.at(-1)]).toEqual(['start', 'call look a tree', 'end'])
  }, WITHIN)
})

test('if the project is green already, no server is started', async () => {
  const config = { ...turns, mcp_servers: [fixture('good')] }
  const { shop } = await played([], config, withServers(), { done: '' })
  await expect(seenBy(shop)).rejects.toThrow('ENOENT')
})

test('each run has a server of its own', async () => {
  await using shop = await Workshop.open([call('look'), { text: 'Done.' }])
  shop.startAgent({ effects: withServers() })
  // Neither reaches the goal: the other would find its project green, and start no server.
  const create = () => shop.create({ ...turns, max_iterations: 1, mcp_servers: [fixture('good')] })
  const ids = await Promise.all([create(), create()])
  await Promise.all(ids.map((id) => shop.until(id, 'run_end')))
  expect((await seenBy(shop)).filter((what) => what === 'start')).toHaveLength(2)
})

test('a call ends at its time limit', async () => {
  await using servers = await opened(fixture('good', { call_timeout_s: 0.2 }))
  const { signal } = new AbortController()
  const called = servers.tool('mcp__fix__slow')?.call({}, { signal, imageTypes: async () => [] })
  expect(await called).toMatchObject({
    outcome: 'timed_out',
    output: expect.stringContaining('Whether the call took effect is not known'),
  })
})

test('an abort cancels the call, and the server ends', async () => {
  await using shop = await Workshop.open([call('slow')])
  shop.startAgent({ effects: withServers() })
  const runId = await shop.create({ ...turns, mcp_servers: [fixture('good')] })
  await vi.waitFor(async () => expect(await seenBy(shop)).toContain('call slow'), WITHIN)
  await shop.command(runId, { type: 'abort', reason: null })
  const records = await shop.until(runId, 'run_end')
  expect(only(records, 'tool_result').payload.outcome).toBe('aborted')
  await vi.waitFor(
    async () => expect((await seenBy(shop)).slice(-2)).toEqual(['cancelled', 'end']),
    WITHIN,
  )
})

test('a server that dies is started again, and the result of the call under way is unknown', async () => {
  const { results, end } = await playedWith(
    [call('die'), call('look', { word: 'it' }), { calls: [reachGoal] }],
    fixture('good'),
  )
  expect(results[0]).toMatchObject({ outcome: 'unknown' })
  expect(results[0]?.output).toMatch(/exit code 7. It printed last: out of luck/)
  expect(results[1]).toMatchObject({ outcome: 'ok' })
  expect(end.achieved).toBe(true)
})

describe('tools that change', () => {
  test('end the run by default; the model is not sent the new ones', async () => {
    const { shop, end, listed } = await playedWith([call('change'), call('look')], fixture('good'))
    expect(end).toMatchObject({ achieved: false, status: 'failed' })
    expect(end.reason).toMatch(/has changed its tools .*changed: mcp__fix__look/)
    expect(listed).toHaveLength(2)
    expect(listed[1]?.changes).toEqual({ added: [], removed: [], changed: ['mcp__fix__look'] })
    expect(JSON.stringify(shop.requests)).not.toContain('evil.example')
  })

  test('end the run after the restart of a server, too', async () => {
    const { shop, end } = await playedWith([call('die'), call('look')], fixture('other on restart'))
    expect(end.reason).toMatch(/has changed its tools/)
    expect(await seenBy(shop)).not.toContain('call look')
  })

  test('are used if the run allows that, and the model reads that', async () => {
    const { shop, end, listed } = await playedWith(
      [call('change'), call('look'), { calls: [reachGoal] }],
      fixture('good', { on_change: 'record' }),
    )
    expect(end.achieved).toBe(true)
    expect(listed[1]).toMatchObject({ changes: { changed: ['mcp__fix__look'] } })
    expect(shop.requests[1]?.messages.at(-1)?.content).toContain('has changed its tools')
  })
})

describe('a server that misbehaves at its start', () => {
  test.each([
    ['broken', /It ended with exit code 3. It printed last: no such module/],
    ['silent', /gave no answer in time \(start_timeout_s is 0.5\)/],
    ['garbage', /It sends lines that are not messages of MCP/],
    ['flood', /sent more than was asked for/],
    ['long line', /more than 8 MiB/],
    ['endless pages', /pagination did not terminate/],
    ['invalid', /tools/],
  ])('%s: the reason is recorded', async (how, reason) => {
    await using servers = await opened(
      fixture(how, how === 'silent' ? { start_timeout_s: 0.5 } : {}),
    )
    expect(servers.listing).toMatchObject({ tools: [], problem: expect.stringMatching(reason) })
  })

  test('the run fails with the reason, and costs no token', async () => {
    const { shop, end } = await playedWith([], fixture('good', { command: '/no/such/program' }))
    expect(end).toMatchObject({ status: 'failed', total_tokens: 0 })
    expect(end.reason).toMatch(/needs the MCP server fix, .*\/no\/such\/program/)
    expect(shop.requests).toHaveLength(0)
  })

  test('a server that the run does not need is missing, and the model reads that', async () => {
    const optional = fixture('broken', { required: false })
    const { shop, end } = await playedWith([{ calls: [reachGoal] }], optional)
    expect(end.achieved).toBe(true)
    expect(shop.requests[0]?.messages[1]?.content).toContain('no such module')
  })

  test.each([
    ['ends at the first question', 'old'],
    ['leaves the first question open', 'taciturn'],
  ])('a server of an old version that %s is asked in the old way', async (_what, how) => {
    await using servers = await opened(fixture(how))
    expect(servers.listing).not.toHaveProperty('problem')
    expect(servers.listing?.tools).not.toEqual([])
  })
})

describe('lists', () => {
  test('names that imitate ours, collide or are too long become names that all providers accept', async () => {
    await using servers = await opened(fixture('rude'))
    const { tools = [], left_out } = servers.listing ?? {}
    const names = tools.map(({ name }) => name)
    expect(names).toContain('mcp__fix__bash_exec')
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(name).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
    expect(left_out).toEqual([
      { tool: 'deep', reason: 'its schema is more than 32 levels deep' },
      { tool: 'twice', reason: 'another tool has its name' },
    ])
  })

  test('a huge list is cut, which the record shows, and a tool with a huge description is left out', async () => {
    await using huge = await opened(fixture('huge'))
    expect(huge.listing?.tools).toHaveLength(100)
    expect(huge.listing?.left_out).toHaveLength(21)
    expect(huge.listing?.left_out?.at(-1)?.tool).toBe('4880 more')
    await using heavy = await opened(fixture('heavy'))
    expect(heavy.listing?.tools.map(({ tool }) => tool)).toEqual(['light'])
  })

  test('only the chosen tools are offered, and trusted marks of reading count', async () => {
    await using servers = await opened(fixture('good', { tools: ['look'], trust_hints: true }))
    expect(servers.listing?.tools).toMatchObject([{ tool: 'look', read_only: true }])
    expect(servers.tool('mcp__fix__look')?.readOnly).toBe(true)
  })
})
