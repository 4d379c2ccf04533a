import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { RequestedOptions } from '../../src/domain/requested-goal.ts'
import { EMPTY_DRAFT, requestOf } from '../../web/src/start/draft.ts'
import {
  emptyPart,
  fieldOf,
  kindOf,
  type PartDraft,
  schemaOf,
} from '../../web/src/start/goal-draft.ts'
import { emptyServer, serversOf } from '../../web/src/start/mcp-draft.ts'
import { emptyRule, rulesOf, ruleText } from '../../web/src/start/rule-draft.ts'

const unnamed = z.strictObject(RequestedOptions.shape)
const { properties: schemas = {} } = z.toJSONSchema(unnamed, { io: 'input' })
const option = (name: string, required: boolean) => {
  return { name, required, schema: schemas[name] as Record<string, unknown> }
}

/** As the server describes them. */
const GOALS = [
  { name: 'pytest', description: 'All tests pass', check: 'optional' as const, options: [] },
  {
    ...{ name: 'perf-check', description: 'It is fast', check: 'required' as const },
    options: [option('max_ms', true), option('runs', false)],
  },
  {
    ...{ name: 'api-test', description: 'It answers', check: 'none' as const },
    options: [option('requests', true), option('url', false)],
  },
]

const part = (changes: Partial<PartDraft>): PartDraft => ({ ...emptyPart(), ...changes })
const goalsOf = (...parts: PartDraft[]) => {
  const { hitl_enabled: _, ...goals } = requestOf({ ...EMPTY_DRAFT, parts }, GOALS)
  return goals
}

test('a form sends only what is filled in, and leaves the rest to the defaults of the server', () => {
  const draft = {
    ...EMPTY_DRAFT,
    parts: [part({ goal: 'pytest' })],
    cwd: ' /srv/x ',
    max_tokens: 5000,
    max_cost_usd: '0.5',
  }
  expect(requestOf(draft, GOALS)).toEqual({
    goal: 'pytest',
    hitl_enabled: false,
    cwd: '/srv/x',
    max_tokens: 5000,
    max_cost_usd: 0.5,
  })
})

describe('a goal', () => {
  test('has a check with conditions; without any, the server requires exit code 0', () => {
    expect(goalsOf(part({ check: ' make lint ' }))).toEqual({ check: { command: 'make lint' } })
    const conditions = { output_contains: 'OK', max_seconds: 60 }
    expect(goalsOf(part({ check: 'make', ...conditions }))).toEqual({
      check: { command: 'make', conditions: { exit_code: 0, ...conditions } },
    })
    expect(goalsOf(part({ check: 'make', exit_code: 3 })).check?.conditions).toEqual({
      exit_code: 3,
    })
  })

  test('has the options that the server describes, and no others', () => {
    const options = { max_ms: 200, runs: '', colour: 'red' }
    expect(goalsOf(part({ goal: 'perf-check', check: './bench', options }))).toEqual({
      goal: 'perf-check',
      check: { command: './bench' },
      goal_options: { max_ms: 200 },
    })
  })

  test('has lists of objects, and names and texts one per line', () => {
    const values = { path: '/health', status: 204, headers: 'Accept: text/plain\n\nX-A: b: c' }
    const requests = [
      { id: 'a', values },
      { id: 'b', values: { path: '/' } },
    ]
    expect(goalsOf(part({ goal: 'api-test', options: { requests } })).goal_options).toEqual({
      requests: [
        { path: '/health', status: 204, headers: { Accept: 'text/plain', 'X-A': 'b: c' } },
        { path: '/' },
      ],
    })
  })

  test('becomes a part of all_of if there are several, and its problems name the fields there', () => {
    const parts = [part({ goal: 'pytest' }), part({ check: 'make docs' })]
    expect(goalsOf(...parts)).toEqual({
      all_of: [{ goal: 'pytest' }, { check: { command: 'make docs' } }],
    })
    expect(fieldOf(parts, 1, 'check')).toBe('all_of.1.check')
    expect(fieldOf(parts.slice(0, 1), 0, 'check')).toBe('check')
  })
})

test('every option of a goal has a field of its kind', () => {
  const kinds = Object.entries(schemas).map(([name, schema]) => [name, kindOf(schemaOf(schema))])
  expect(Object.fromEntries(kinds)).toEqual({
    ...{ max_ms: 'number', runs: 'number', min_percent: 'number', report: 'text' },
    ...{ requests: 'rows', url: 'text', start: 'text', ready_within_seconds: 'number' },
  })
  const request = schemaOf(schemas.requests).items?.properties ?? {}
  expect(kindOf(request.method ?? {})).toBe('choice')
  expect(kindOf(request.headers ?? {})).toBe('lines')
  expect(kindOf(schemaOf('no schema'))).toBe('text')
})

test('rules are sent in their order, with the conditions that are filled in', () => {
  const push = { ...emptyRule(), command: ' git push * ', reason: 'People push' }
  const dear = { ...emptyRule(), cost_above_usd: 5, isByOther: true }
  const none = { ...emptyRule(), action: 'deny' as const, isByOther: true }
  expect(rulesOf([{ ...push, action: 'deny' }, dear, none])).toEqual([
    { command: 'git push *', reason: 'People push', action: 'deny' },
    { cost_above_usd: 5, by: 'other_than_starter', action: 'ask' },
    { action: 'deny' },
  ])
  expect(rulesOf([])).toBeUndefined()
})

test('a rule is read as a sentence', () => {
  expect(ruleText({ command: 'rm *', action: 'deny', reason: 'Nothing is removed' })).toBe(
    'A call that runs rm * is denied: Nothing is removed',
  )
  expect(
    ruleText({ tool: 'file_*', path: '.github/**', action: 'ask', by: 'other_than_starter' }),
  ).toBe('A call of the tool file_* on .github/** asks a person who did not start the run')
  expect(ruleText({ action: 'ask' })).toBe('Every call asks a person')
})

test('MCP servers of the request come after the named ones, with the fields of their kind', () => {
  const own = [
    { ...emptyServer(), name: ' a ', command: 'node', args: 'server.js\n--name=b c\n', url: 'x' },
    { ...emptyServer(), name: 'b', by: 'url' as const, url: 'https://b', required: false },
    { ...emptyServer(), name: 'c', command: 'c' },
  ]
  expect(serversOf(['docs'], own)).toEqual([
    'docs',
    { name: 'a', command: 'node', args: ['server.js', '--name=b c'] },
    { name: 'b', url: 'https://b', required: false },
    { name: 'c', command: 'c' },
  ])
})
