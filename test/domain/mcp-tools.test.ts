import { describe, expect, test } from 'vitest'
import type { RunCommand } from '../../src/domain/commands.ts'
import { MCP_DEFAULTS, type McpServer } from '../../src/domain/mcp-servers.ts'
import type { McpListing } from '../../src/domain/mcp-tools.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import {
  by,
  claim,
  conversationOf,
  create,
  given,
  outOfStep,
  reply,
  result,
  type Step,
  working as workingWith,
} from './support.ts'

const server = (changes: Partial<McpServer> = {}): McpServer => ({
  ...MCP_DEFAULTS,
  name: 'docs',
  source: 'request',
  command: 'docs',
  ...changes,
})

const working = (changes: Partial<McpServer> = {}, config: Partial<RunConfig> = {}) =>
  workingWith({ max_turns_per_iteration: 9, mcp_servers: [server(changes)], ...config })

const tool = (name: string, hash = 'a') => ({
  name: `mcp__docs__${name}`,
  tool: name,
  description: `Of ${hash}.`,
  read_only: false,
  input_schema: { type: 'object' },
  sha256: hash.repeat(64),
})

const lists = (tools: McpListing['tools'], more: Partial<McpListing> = {}): RunCommand =>
  by('p1', {
    type: 'record_mcp_tools',
    listings: [{ server: 'docs', transport: 'stdio', tools, ...more }],
  })

describe('a listing', () => {
  test('is recorded before the first reply, and the run continues', () => {
    given(...working()).each([lists([tool('search')]), '1 mcp_tools_listed'])
  })

  test('with other tools ends a run that has already worked, with a summary', () => {
    given(
      ...working(),
      lists([tool('search')]),
      reply(['file_read']),
      result('c0', 'file_read'),
    ).each([lists([tool('search', 'b'), tool('send')]), '1 mcp_tools_listed, run_ending'])
  })

  test('with other tools closes the call that waits for it, and checks the goal if something has changed', () => {
    given(...working(), lists([tool('search')]), reply(['mcp__docs__search'])).each([
      lists([]),
      '1 mcp_tools_listed, tool_result c0 rejected, step_start plan, step_start evaluate',
    ])
  })

  test('is accepted before a call is compared with the rules', () => {
    const approvals = [{ tool: 'mcp__docs__search', action: 'ask' as const }]
    given(
      ...working({}, { approvals }),
      lists([tool('search')]),
      reply(['mcp__docs__search']),
    ).each([lists([]), '1 mcp_tools_listed, run_ending'])
  })

  test('of a server that cannot be used ends a run that needs it, and costs nothing', () => {
    given(...working()).each([
      lists([], { problem: 'It ended.' }),
      '1 mcp_tools_listed, run_end failed',
    ])
  })

  test('of a server that the run does not need changes nothing', () => {
    given(...working({ required: false })).each([
      lists([], { problem: 'It ended.' }),
      '1 mcp_tools_listed',
    ])
  })

  test('is accepted only while a reply or a call waits for it', () => {
    given(create({ mcp_servers: [server()] }), claim(), reply()).each([
      lists([]),
      outOfStep('evaluating', 'record_mcp_tools'),
    ])
  })
})

test('a call is marked as reading if its server is trusted', () => {
  const reading = { ...tool('search'), read_only: true }
  const { records } = given(...working(), lists([reading]), reply(['mcp__docs__search']))
  expect(records.at(-1)).toMatchObject({ kind: 'tool_call', payload: { read_only: true } })
})

test('the next request holds the tools as they were recorded, and none that ended the run', () => {
  const talk = (...steps: Step[]) => conversationOf(given(...working(), ...steps).records)
  const first = lists([tool('search')])
  expect(talk(first).tools).toMatchObject([{ name: 'mcp__docs__search' }])
  expect(talk(first, lists([tool('search', 'b')])).tools).toMatchObject([{ description: 'Of a.' }])
})
