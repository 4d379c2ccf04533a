import { expect, test } from 'vitest'
import { draftOf, EMPTY_DRAFT, goalField, requestOf } from '../../web/src/start/draft.ts'

const sent = (changes: Partial<typeof EMPTY_DRAFT>) => {
  const { hitl_enabled: _, on_limit: __, ...request } = requestOf({ ...EMPTY_DRAFT, ...changes })
  return request
}

test('a goal becomes the first of all_of if there are further ones, and its problems name it there', () => {
  const draft = { ...EMPTY_DRAFT, goal: 'pytest', all_of: '[{"check": {"command": "make docs"}}]' }
  expect(sent(draft)).toEqual({
    all_of: [{ goal: 'pytest' }, { check: { command: 'make docs' } }],
  })
  expect(goalField(draft, 'check')).toBe('all_of.0.check')
  expect(goalField(EMPTY_DRAFT, 'check')).toBe('check')
})

test.each([
  { goal: 'pytest', hitl_enabled: true, max_cost_usd: 0.5 },
  {
    check: { command: 'make check' },
    goal: 'shell-goal',
    hitl_enabled: false,
    cwd: '/p',
    model_name: 'm',
    reasoning_effort: 'high',
    fallback_models: ['n'],
    max_iterations: 7,
    max_turns_per_iteration: 3,
    max_tokens: 10,
    max_output_tokens: 5,
    isolation: 'namespaces',
    network: { allow: ['pypi.org', '*.example.org'] },
    approvals: [{ tool: 'bash_exec', action: 'ask' }],
    mcp_servers: ['docs', { name: 'mine', command: 'mine' }],
    instructions: 'Water it.',
    protect: ['a.sh'],
    tools: { exclude: ['git_log'] },
    on_tampering: 'fail',
    accept: { files: {}, command: 'true' },
    accept_feedback: true,
  },
  {
    all_of: [
      {
        check: { command: 'a', conditions: { exit_code: 1, output_contains: 'x', max_seconds: 2 } },
      },
      { goal: 'pytest' },
    ],
    hitl_enabled: false,
    network: 'full',
  },
  { goal: 'pytest', hitl_enabled: false, workspace: 'copy', workspace_skip: ['dist'] },
  { goal: 'pytest', hitl_enabled: false, shared: true },
] as const)('a request is what its form sends, and its run pauses at limits: %#', (request) => {
  const sent = requestOf(draftOf(JSON.parse(JSON.stringify(request))))
  expect(sent).toEqual({ ...request, on_limit: 'pause' })
})
