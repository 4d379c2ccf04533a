import { describe, expect, test, vi } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import type { McpServer } from '../../src/domain/mcp-servers.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../agent/support.ts'
import { fixture, seenBy, withServers } from './support.ts'

/** Programs start slowly on a busy machine. */
const WITHIN = { timeout: 20_000 }
const turns = { max_turns_per_iteration: 20 }
const call = (tool: string, args: Record<string, unknown> = {}) => {
  return { calls: [{ tool: `mcp__fix__${tool}`, args }] }
}

/** A run with these servers, to its end. */
async function played(script: Script, servers: readonly McpServer[]) {
  const shop = await Workshop.open(script)
  shop.startAgent({ effects: withServers(shop) })
  const runId = await shop.create({ ...turns, mcp_servers: servers })
  const records = await shop.until(runId, 'run_end')
  const results = payloadsOf(records, 'tool_result')
  const listed = payloadsOf(records, 'mcp_tools_listed')
  return { shop, records, results, listed, end: only(records, 'run_end').payload }
}

test('the tools of a server are listed before the first request, which holds them', async () => {
  const { shop, records, listed, results } = await played(
    [call('look', { word: 'a tree' }), { calls: [reachGoal] }],
    [fixture('good')],
  )
  await using _ = shop
  const kinds = records.map(({ kind }) => kind)
  expect(kinds.indexOf('mcp_tools_listed')).toBe(kinds.indexOf('llm_usage') - 1)
  expect(listed).toMatchObject([
    { server: 'fix', transport: 'stdio', server_name: 'fixture', server_version: '1.2.3' },
  ])
  expect(listed[0]?.tools.map(({ name }) => name)).toContain('mcp__fix__look')
  expect(listed[0]?.tools.every(({ read_only }) => !read_only)).toBe(true)
  expect(shop.requests[0]?.tools).toEqual(expect.arrayContaining(['mcp__fix__look', 'bash_exec']))
  expect(results[0]).toMatchObject({ outcome: 'ok', output: 'You see a tree.', exit_code: 0 })
  await vi.waitFor(
    async () => expect(await seenBy(shop)).toEqual(['start', 'call look a tree', 'end']),
    WITHIN,
  )
})

test('if the project is green already, no server is started', async () => {
  await using shop = await Workshop.open([])
  await shop.file('done', '')
  shop.startAgent({ effects: withServers(shop) })
  const runId = await shop.create({ ...turns, mcp_servers: [fixture('good')] })
  await shop.until(runId, 'run_end')
  await expect(seenBy(shop)).rejects.toThrow('ENOENT')
})

test('each run has a server of its own', async () => {
  await using shop = await Workshop.open([call('look'), { calls: [reachGoal] }])
  shop.startAgent({ effects: withServers(shop) })
  const create = () => shop.create({ ...turns, mcp_servers: [fixture('good')] })
  const ids = await Promise.all([create(), create()])
  await Promise.all(ids.map((id) => shop.until(id, 'run_end')))
  expect((await seenBy(shop)).filter((what) => what === 'start')).toHaveLength(2)
})

describe('results', () => {
  test('keep failures, refusals and everything that is not text', async () => {
    const { shop, results } = await played(
      [call('fail'), call('all'), call('nothing'), call('big'), { calls: [reachGoal] }],
      [fixture('good')],
    )
    await using _ = shop
    expect(results[0]).toMatchObject({ outcome: 'error', output: 'It did not work.' })
    expect(results[1]?.output).toBe(
      [
        ...['words', '[image, image/png, 3 bytes: not shown]', '[resource file:///a]', 'inside'],
        ...[
          '[resource file:///b, x/y, 3 bytes: not shown]',
          '[link to file:///c, text/plain, 7 bytes] c',
          '{"found":3}',
        ],
      ].join('\n'),
    )
    expect(results[2]).toMatchObject({ outcome: 'rejected' })
    expect(results[3]).toMatchObject({ bytes: 100_000, truncated: true })
    expect(results[3]?.sha256).toMatch(/^[0-9a-f]{64}$/)
  })

  test('report that a call was cancelled at its time limit, and the server learns it', async () => {
    const { shop, results } = await played(
      [call('slow'), { calls: [reachGoal] }],
      [fixture('good', { call_timeout_s: 0.2 })],
    )
    await using _ = shop
    expect(results[0]).toMatchObject({ outcome: 'timed_out' })
    expect(results[0]?.output).toContain('Whether the call took effect is not known')
    expect(await seenBy(shop)).toContain('cancelled')
  })
})

test('an abort cancels the call, and the server ends', async () => {
  await using shop = await Workshop.open([call('slow')])
  shop.startAgent({ effects: withServers(shop) })
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
  const { shop, results, end } = await played(
    [call('die'), call('look', { word: 'it' }), { calls: [reachGoal] }],
    [fixture('good')],
  )
  await using _ = shop
  expect(results[0]).toMatchObject({ outcome: 'unknown' })
  expect(results[0]?.output).toMatch(/exit code 7. It printed last: out of luck/)
  expect(results[1]).toMatchObject({ outcome: 'ok' })
  expect(end.achieved).toBe(true)
})

describe('tools that change', () => {
  test('end the run by default; the model is not sent the new ones', async () => {
    const { shop, end, listed } = await played([call('change'), call('look')], [fixture('good')])
    await using _ = shop
    expect(end).toMatchObject({ achieved: false, status: 'failed' })
    expect(end.reason).toMatch(/has changed its tools .*changed: mcp__fix__look/)
    expect(listed).toHaveLength(2)
    expect(listed[1]?.changes).toEqual({ added: [], removed: [], changed: ['mcp__fix__look'] })
    expect(JSON.stringify(shop.requests)).not.toContain('evil.example')
  })

  test('end the run after the restart of a server, too', async () => {
    const { shop, end } = await played([call('die'), call('look')], [fixture('other on restart')])
    await using _ = shop
    expect(end.reason).toMatch(/has changed its tools/)
    expect(await seenBy(shop)).not.toContain('call look')
  })

  test('are used if the run allows that, and the model reads that', async () => {
    const { shop, end, listed } = await played(
      [call('change'), call('look'), { calls: [reachGoal] }],
      [fixture('good', { on_change: 'record' })],
    )
    await using _ = shop
    expect(end.achieved).toBe(true)
    expect(listed[1]).toMatchObject({ changes: { changed: ['mcp__fix__look'] } })
    expect(shop.requests[1]?.messages.at(-1)?.content).toContain('has changed its tools')
  })
})

describe('a server that misbehaves at its start', () => {
  test.each([
    ['broken', /It ended with exit code 3. It printed last: no such module/],
    ['silent', /gave no answer in time \(start_timeout_s is 6\)/],
    ['garbage', /It sends lines that are not messages of MCP/],
    ['flood', /sent more than was asked for/],
    ['long line', /more than 8 MiB/],
    ['endless pages', /pagination did not terminate/],
    ['invalid', /tools/],
  ])('%s: the run fails with the reason, and costs no token', async (how, reason) => {
    const { shop, end } = await played(
      [],
      [fixture(how, how === 'silent' ? { start_timeout_s: 6 } : {})],
    )
    await using _ = shop
    expect(end).toMatchObject({ status: 'failed', total_tokens: 0 })
    expect(end.reason).toMatch(reason)
    expect(shop.requests).toHaveLength(0)
  })

  test('a program that is not there', async () => {
    const { shop, end } = await played([], [fixture('good', { command: '/no/such/program' })])
    await using _ = shop
    expect(end.reason).toMatch(/needs the MCP server fix, .*\/no\/such\/program/)
  })

  test('a server that the run does not need is missing, and the model reads that', async () => {
    const { shop, end } = await played(
      [{ calls: [reachGoal] }],
      [fixture('broken', { required: false })],
    )
    await using _ = shop
    expect(end.achieved).toBe(true)
    expect(shop.requests[0]?.messages[1]?.content).toContain('no such module')
  })

  test.each([
    ['ends at the first question', 'old'],
    ['leaves the first question open', 'taciturn'],
  ])('a server of an old version that %s is asked in the old way', async (_what, how) => {
    const { shop, end } = await played([{ calls: [reachGoal] }], [fixture(how)])
    await using _ = shop
    expect(end.achieved).toBe(true)
  })
})

describe('lists', () => {
  test('names that imitate ours, collide or are too long become names that all providers accept', async () => {
    const { shop, listed } = await played([{ calls: [reachGoal] }], [fixture('rude')])
    await using _ = shop
    const names = listed[0]?.tools.map(({ name }) => name) ?? []
    expect(names).toContain('mcp__fix__bash_exec')
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(name).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
    expect(listed[0]?.left_out).toEqual([
      { tool: 'deep', reason: 'its schema is more than 32 levels deep' },
      { tool: 'twice', reason: 'another tool has its name' },
    ])
  })

  test('a huge list is cut, and the record shows it', async () => {
    const { shop, listed } = await played([{ calls: [reachGoal] }], [fixture('huge')])
    await using _ = shop
    expect(listed[0]?.tools).toHaveLength(100)
    expect(listed[0]?.left_out).toHaveLength(21)
    expect(listed[0]?.left_out?.at(-1)?.tool).toBe('4880 more')
  })

  test('a tool with a huge description is left out', async () => {
    const { shop, listed } = await played([{ calls: [reachGoal] }], [fixture('heavy')])
    await using _ = shop
    expect(listed[0]?.tools.map(({ tool }) => tool)).toEqual(['light'])
  })

  test('only the chosen tools are offered, and trusted marks of reading count', async () => {
    const chosen = { tools: ['look'], trust_hints: true }
    const { shop, records, listed } = await played(
      [call('look'), { calls: [reachGoal] }],
      [fixture('good', chosen)],
    )
    await using _ = shop
    expect(listed[0]?.tools).toMatchObject([{ tool: 'look', read_only: true }])
    const calls = payloadsOf(records, 'tool_call')
    expect(calls[0]).toMatchObject({ tool: 'mcp__fix__look', read_only: true })
  })
})
