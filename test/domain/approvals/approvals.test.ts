import { describe, expect, test } from 'vitest'
import { type ApprovalRule, judge, type Touches } from '../../../src/domain/approvals/rules.ts'
import type { Kind, RunRecord } from '../../../src/domain/records.ts'
import { hashOfCall } from '../../../src/log/commitment.ts'
import {
  altered,
  by,
  check as checkOf,
  claim,
  create,
  given,
  proceed,
  reply,
  respond,
  result,
  type Step,
  story,
  verified,
} from '../support.ts'

type Rules = readonly ApprovalRule[]

const action = (
  rules: Rules,
  touches: Touches | null,
  tool = 'bash_exec',
  costUsd: number | null = 0,
) => judge({ tool, touches, costUsd }, { run: rules, server: [], lifted: [] }).action

const command = (line: string, rules: Rules) => action(rules, { commands: [line] })

describe('a denied command', () => {
  const NO_PUSH = [{ command: 'git push *', action: 'deny' }] as const

  test.for([
    'git push',
    'git push origin main',
    'ls && git push',
    'ls;git push',
    'ls\ngit push',
    'ls|git push',
    'ls & git push',
    'git  \t push origin',
    'git "push"',
    "g'i't push",
    '\\git push',
    'git \\\npush',
    '/usr/bin/git push',
    'A=1 git push',
    'env A=1 git push',
    'env -S "git push"',
    'sudo -u root git push',
    'timeout 5 /usr/bin/git push',
    'nohup bash -c "git push"',
    'bash -c "git push"',
    'sh <<< "git push"',
    'eval "git" push',
    'echo push | xargs git',
    'find . -exec git push ;',
    '(git push)',
    '{ git push; }',
    'echo $(git push)',
    'echo `git push`',
    'echo "$(git push)"',
    `echo \${x:-$(git push)}`,
    'cat <(git push)',
    '$X push',
    'git $X',
    'git pu?h',
    'gi{t,} push',
    "git $'push'",
    'if true; then git push; fi',
    'f() { git push; }; f',
    '! git push',
    'time git push',
    'cat <<EOF\nx\nEOF\ngit push',
    'alias ls="git push"\nls',
    "trap 'git push' EXIT",
    "test -v 'a[$(git push)]'",
    'ls # and so on\ngit push',
    'git push > /dev/null 2>&1',
    '2>&1 git push',
    '>x git push',
    `ls ${'x'.repeat(5_000)}; git push`,
    'ls "',
    'coproc git push',
  ])('is found in %j', (line) => {
    expect(command(line, NO_PUSH)).toBe('deny')
  })

  test.for([
    'git status',
    'git pushx',
    'echo git push',
    "grep 'git push' README.md",
    'ls # git push',
    'ls *.py',
    'echo $HOME && npm test',
    'npm test > out.txt 2>&1',
    'timeout 5 npm test',
    'A=1 npm test',
    '[ -f package.json ] && npm test',
    '',
  ])('is not seen in %j', (line) => {
    expect(command(line, NO_PUSH)).toBe('allow')
  })
})

describe('an allowed command', () => {
  const ONLY_TESTS = [{ command: 'npm test *', action: 'allow' }, { action: 'ask' }] as const

  test.for(['npm test', 'npm test -- x', 'npm test && npm test', 'npm  test 2>&1', 'npm test $X'])(
    'begins at once: %j',
    (line) => {
      expect(command(line, ONLY_TESTS)).toBe('allow')
    },
  )

  test.for([
    'npm testing',
    'npm test; rm -rf /',
    'npm test\nrm -rf /',
    'npm test || rm -rf /',
    'npm test & rm -rf /',
    'npm test | tee x',
    'npm test > ~/.bashrc',
    'npm test $(rm -rf /)',
    'npm test `rm -rf /`',
    'PATH=. npm test',
    './npm test',
    'env npm test',
    '$X npm test',
    '"npm test"',
    'npm test <<< x',
  ])('does not bring another one along: %j', (line) => {
    expect(command(line, ONLY_TESTS)).toBe('ask')
  })
})

describe('a rule about paths', () => {
  const WORKFLOWS = [{ path: '.github/**', action: 'ask' }] as const
  const paths = (...names: string[]) => action(WORKFLOWS, { paths: [names] }, 'file_write')

  test('applies to the file, a link to it, a call with several files, and a folder that contains it', () => {
    expect(paths('.github/workflows/ci.yml')).toBe('ask')
    expect(paths('.github')).toBe('ask')
    expect(paths('ci.yml', '.github/workflows/ci.yml')).toBe('ask')
    expect(action(WORKFLOWS, { paths: [['a'], ['.github/b']] })).toBe('ask')
    expect(action(WORKFLOWS, { trees: [['.']] })).toBe('ask')
    expect(action(WORKFLOWS, { trees: [['src']] })).toBe('allow')
    expect(paths('src/.github/x')).toBe('allow')
  })

  test('allows a file only if all its names are allowed', () => {
    const rules = [{ path: 'src/*', action: 'allow' }, { action: 'deny' }] as const
    const of = (...names: string[]) => action(rules, { paths: [names] })
    expect([of('src/a'), of('src/a/b'), of('src/a', 'secret')]).toEqual(['allow', 'deny', 'deny'])
  })
})

test('a tool of which nothing is known meets every condition, except of a rule that allows', () => {
  const rules = [
    { path: 'src/**', action: 'allow' },
    { command: 'rm *', action: 'deny' },
  ] as const
  expect(action(rules, null, 'new_tool')).toBe('deny')
  expect(action([{ mcp_server: 'github', action: 'ask' }], null, 'new_tool')).toBe('ask')
  expect(action([{ mcp_server: 'github', action: 'ask' }], {}, 'git_status')).toBe('allow')
})

test('a rule about the cost applies above that cost, and if the cost is not known', () => {
  const rules = [{ cost_above_usd: 1, action: 'ask' }] as const
  expect(action(rules, {}, 'x', 1)).toBe('allow')
  expect(action(rules, {}, 'x', 1.01)).toBe('ask')
  expect(action(rules, {}, 'x', null)).toBe('ask')
})

test('the stricter of run and server decides, and a lifted rule allows', () => {
  const ask = [{ tool: 'bash_*', action: 'ask' }] as const
  const allow = [{ tool: '*', action: 'allow' }] as const
  const of = (run: Rules, server: Rules, lifted: { of: 'run' | 'server'; index: number }[] = []) =>
    judge({ tool: 'bash_exec', touches: {}, costUsd: 0 }, { run, server, lifted }).action
  expect(of(allow, ask)).toBe('ask')
  expect(of(ask, allow)).toBe('ask')
  expect(of(ask, [], [{ of: 'run', index: 0 }])).toBe('allow')
  expect(of(ask, ask, [{ of: 'run', index: 0 }])).toBe('ask')
})

describe('the time to compare is bounded', () => {
  const stars = `${'*a'.repeat(90)}*b`
  const many = Array.from({ length: 64 }, () => ({ command: stars, action: 'allow' }) as const)
  const LONG = { doubt: 'it is too long to be compared with all rules' }
  const of = (touches: Touches, rules: Rules) =>
    judge({ tool: 'bash_exec', touches, costUsd: 0 }, { run: rules, server: [], lifted: [] })

  test('with patterns that make other matchers hang', () => {
    expect(command(`x ${'a'.repeat(900)}`, [{ command: stars, action: 'deny' }])).toBe('allow')
    const rules = [...many, { command: 'git push *', action: 'deny' }] as const
    const line = `env ${`${'a'.repeat(95)} `.repeat(39)}`
    expect(of({ commands: [line] }, rules)).toMatchObject({ action: 'deny', ...LONG })
  })

  test('with many commands and many files', () => {
    const rules = Array.from(
      { length: 64 },
      (_, at) => ({ command: `b${at}`, action: 'deny' }) as const,
    )
    expect(of({ commands: ['a;'.repeat(2_000)] }, rules)).toMatchObject({ action: 'deny', ...LONG })
    const paths = Array.from({ length: 5_000 }, (_, at) => [`src/${'a/'.repeat(100)}${at}`])
    const files = of({ paths }, [...many.map(() => ({ path: '**a*z', action: 'ask' }) as const)])
    expect(files).toMatchObject({ action: 'ask', ...LONG })
  })

  test('and usual rules are compared with long lines', () => {
    const rules = Array.from(
      { length: 20 },
      (_, at) => ({ command: `npm run x${at} *`, action: 'allow' }) as const,
    )
    const line = `npm run x3 -- ${'x'.repeat(50)} && `.repeat(50)
    expect(command(`${line}npm run x4`, [...rules, { action: 'deny' }])).toBe('allow')
  })
})

const ASK = { tool: 'bash_exec', action: 'ask' } as const
/** Of the first call of a reply. */
const SHA = hashOfCall({ call_id: 'c0', tool: 'bash_exec', args: {} })
const review = (callId: string, rule: ApprovalRule | null) =>
  by('p1', {
    type: 'record_review',
    callId,
    callSha256: SHA,
    verdict: {
      action: rule?.action ?? 'allow',
      rule: rule && { of: 'run', index: 0, content: rule },
      doubt: null,
    },
  })
const answer = (
  decision: 'allow' | 'deny',
  answers: number,
  { callSha256 = SHA, liftsRule = false } = {},
) => ({ type: 'answer_approval', decision, reason: null, answers, callSha256, liftsRule }) as const

const replied = [create({ approvals: [ASK] }), claim(), reply(['bash_exec', 'file_read'])]
const asked = [...replied, review('c0', ASK)]
const seq = given(...asked).state?.seq ?? 0

describe('a run with rules', () => {
  test('compares each call with them before it begins', () => {
    const asks = '1 llm_usage, assistant_message, step_start act'
    given(create({ approvals: [ASK] }), claim()).each([reply(['bash_exec']), asks])
    given(...replied).each(
      [review('c0', null), '1 tool_call c0'],
      [review('c1', null), { type: 'out_of_step', command: 'record_review', phase: 'acting' }],
    )
  })

  test('denies a call, and the model reads why', () => {
    const output = 'Rule 1 of the run denied this call: Nothing runs here'
    given(...replied).each([
      review('c0', { ...ASK, action: 'deny', reason: 'Nothing runs here' }),
      '1 tool_call c0, tool_result c0 denied',
      { output: expect.stringContaining(output) },
    ])
  })

  test('waits for a person, and that time does not count', () => {
    const { state } = given(...asked, { command: answer('allow', seq), at: 1000 })
    expect(state?.waitedSeconds).toBe(1000 - 3)
  })

  test('begins the call once it is allowed, and reviews the next one', () => {
    story(
      replied,
      [review('c0', ASK), '1 approval_required'],
      [answer('allow', seq), '1 approval_response'],
      [proceed, '1 tool_call c0'],
      [result('c0', 'bash_exec'), '1 tool_result c0 ok'],
    )
  })

  test('gives a denied call its result', () => {
    const denies = '1 tool_call c0, tool_result c0 denied'
    given(...asked, answer('deny', seq)).each([proceed, denies])
  })

  test('refuses an answer to another question or for another call, and a second answer', () => {
    story(
      asked,
      [answer('allow', 3), { type: 'stale_decision', open: seq, answered: 3 }],
      [answer('allow', seq, { callSha256: 'cd'.repeat(32) }), { type: 'other_call', callId: 'c0' }],
      [answer('allow', seq), '1 approval_response'],
      [answer('deny', seq), { type: 'not_awaiting_human' }],
    )
  })

  test('stops asking for a rule of the run, but not for one of the server', () => {
    const { state } = given(...asked, answer('allow', seq, { liftsRule: true }))
    expect(state?.approvals?.lifted).toEqual([{ of: 'run', index: 0 }])
    given(...asked).each([answer('deny', seq, { liftsRule: true }), { type: 'rule_stays' }])
  })

  test('refuses the answer of the person who started it if the rule asks for somebody else', () => {
    const rule = { ...ASK, by: 'other_than_starter' } as const
    const command = answer('allow', seq)
    given(create({ approvals: [rule] }), claim(), reply(['bash_exec']), review('c0', rule)).each(
      [{ command, fromLog: { isStarter: true } }, { type: 'starter_may_not_answer' }],
      [command, '1 approval_response'],
    )
  })

  test('accepts the answer of a client that knows only human checks', () => {
    given(...asked).each(
      [respond('approve'), '1 approval_response'],
      [respond('abort'), '1 run_end aborted'],
    )
  })
})

describe('a call that asks for more network', () => {
  const HOSTS = { allow: ['a.example.org'] } as const
  const tool = 'request_network'
  const reason = 'It gives the commands of the run more network'
  const verdict = {
    action: 'ask',
    rule: { of: 'tool', index: 0, content: { tool, action: 'ask', reason } },
    doubt: null,
  } as const
  const asking = by('p1', {
    type: 'record_review',
    callId: 'c0',
    callSha256: SHA,
    verdict,
    network: HOSTS,
  })
  const wanting = [create(), claim(), reply([tool])]
  const question = given(...wanting, asking).state?.seq ?? 0

  test('is asked about whatever the rules allow, and as strictly as they ask', () => {
    const of = (run: Rules, of = tool) =>
      judge({ tool: of, touches: {}, costUsd: 0 }, { run, server: [], lifted: [] })
    expect(of([{ action: 'allow' }])).toEqual(verdict)
    expect(of([])).toEqual(verdict)
    expect(of([{ tool: '*', action: 'deny' }]).action).toBe('deny')
    expect(of([{ action: 'ask', by: 'other_than_starter' }]).rule?.of).toBe('run')
    expect(of([], 'bash_exec').action).toBe('allow')
  })

  test('waits in a run without rules, too, and widens its network with the answer', () => {
    story(
      wanting,
      [asking, '1 approval_required'],
      [answer('allow', question, { liftsRule: true }), { type: 'rule_stays' }],
      [answer('allow', question), '1 approval_response'],
      [proceed, '1 tool_call c0'],
    )
    const networkAfter = (...steps: Step[]) =>
      given(...wanting, asking, ...steps).state?.config.network
    expect(networkAfter()).toBeUndefined()
    expect(networkAfter(answer('allow', question))).toEqual(HOSTS)
    expect(networkAfter(answer('deny', question))).toBeUndefined()
  })
})

describe('a history that no commands can have produced is refused', () => {
  const allowed = given(...asked, answer('allow', seq), proceed, result('c0', 'bash_exec')).records
  const denied = given(...asked, answer('deny', seq), proceed).records
  const byRule = given(...replied, review('c0', { ...ASK, action: 'deny' })).records

  /** What is wrong, and the values of the first record of this kind that show it. */
  const impossible: { readonly [K in Kind]?: [string, readonly RunRecord[], object][] } = {
    approval_required: [
      ['a question about another tool', allowed, { tool: 'file_read' }],
      ['a question about a later call', allowed, { call_id: 'c1' }],
      ['a rule that is not in the list', allowed, { rule: { of: 'run', index: 1 } }],
      ['a rule of nobody', allowed, { rule: { of: 'server', index: 0 } }],
      ['another rule than the one in the list', allowed, { content: { action: 'ask' } }],
    ],
    approval_response: [
      ['an answer to another question', allowed, { answers: 2 }],
      ['an answer for another call', allowed, { call_id: 'c1' }],
      ['an answer for a call with another hash', allowed, { call_sha256: 'cd'.repeat(32) }],
      ['a denial that lifts the rule', denied, { lifts_rule: true }],
    ],
    tool_call: [
      ['another call than the model requested', allowed, { args: { command: 'rm -rf /' } }],
      ['another tool than the model requested', allowed, { tool: 'file_read' }],
    ],
    tool_result: [
      ['a call that a person denied and that succeeded', denied, { outcome: 'ok' }],
      ['a call that a person denied, with an exit code', denied, { exit_code: 0 }],
      ['a call that a rule denied, and that took time', byRule, { duration_ms: 3 }],
      [
        'a result that is denied, and a person allowed the call',
        allowed,
        { outcome: 'denied', exit_code: null, duration_ms: 0 },
      ],
      ['a result of another tool', allowed, { tool: 'file_read' }],
    ],
  }
  describe.each(Object.entries(impossible))('%s', (kind, cases) => {
    test.each(cases)('%s', (_, records, changes) => {
      expect(() => altered(records, kind, changes)).toThrow(`${kind} `)
    })
  })

  test.each(['approval_response', 'approval_required'])('a missing %s', (kind) => {
    expect(() => verified(allowed.filter((record) => record.kind !== kind))).toThrow()
  })

  test('a result in a run without rules that says it was denied', () => {
    const { records } = given(create(), claim(), reply(['bash_exec']), result('c0', 'bash_exec'))
    const changes = { outcome: 'denied', exit_code: null, duration_ms: 0 }
    expect(() => altered(records, 'tool_result', changes)).toThrow('no rule or person denied')
  })

  test('a next step before the answer, also at a human check', () => {
    const steps = allowed.filter(({ kind }) => kind === 'step_start').slice(0, 1)
    const open = allowed.findIndex(({ kind }) => kind === 'approval_required') + 1
    const check = given(create({ hitl_enabled: true }), claim(), reply(), checkOf(false)).records
    for (const waiting of [allowed.slice(0, open), check]) {
      expect(() => verified([...waiting, ...steps])).toThrow('before the answer')
    }
  })

  test('a history from which texts were redacted is accepted', () => {
    altered(allowed, 'approval_required', { call_sha256: '[redacted]' })
    altered(allowed, 'approval_response', { call_sha256: '[redacted]' })
  })
})
