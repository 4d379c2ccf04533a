import { expect, test } from 'vitest'
import type { NetworkRules } from '../../../src/agent/planning/problems.ts'
import { createToolbox } from '../../../src/agent/tools/toolbox.ts'
import type { IsolationPolicy } from '../../../src/domain/isolation.ts'
import type { Network } from '../../../src/domain/network.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import type { RunConfig } from '../../../src/domain/run-config.ts'
import { runCommand } from '../../../src/runner/run-command.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../support.ts'

const RULES: NetworkRules = { most: 'hosts', level: 'namespaces', fullProblem: null }
const ARGS = { hosts: ['preset:npm', 'api.example.org'], reason: 'To install left-pad' }
const NPM = ['registry.npmjs.org', 'registry.yarnpkg.com']
const POLICY: IsolationPolicy = {
  level: 'namespaces',
  network: 'none',
  visible: [],
  writable: [],
  protected: [],
  limits: {},
  policy_sha256: '0'.repeat(64),
}

/** Tools that note which network their commands get. */
function toolsOf(rules: NetworkRules) {
  const given: (Network | undefined)[] = []
  const toolbox = createToolbox({
    runCommand: (command) => {
      if (command.file === 'bash') given.push(command.network)
      return runCommand(command)
    },
    artifacts: { put: async () => 'none' },
    networks: rules,
  })
  return { toolbox, given }
}

const script = (args: object = ARGS) => [
  { calls: [{ tool: 'request_network', args: { ...args } }] },
  { calls: [reachGoal] },
]

const createIn = (shop: Workshop, changes: Partial<RunConfig> = {}): Promise<string> =>
  shop.create(changes, { isolation: POLICY })

const questionIn = (records: readonly RunRecord[]) => {
  const { payload } = only(records, 'approval_required')
  return { ...payload, seq: records.findIndex(({ kind }) => kind === 'approval_required') }
}

const answerTo = (
  { seq, call_sha256: callSha256 }: ReturnType<typeof questionIn>,
  decision: 'allow' | 'deny',
) => ({ type: 'answer_approval', decision, reason: 'So', answers: seq, callSha256 }) as const

const resultOf = (records: readonly RunRecord[]) => payloadsOf(records, 'tool_result')[0]

test('a person is asked, whatever the rules allow, and the answer holds after a crash before it is used', async () => {
  await using shop = await Workshop.open(script())
  const { toolbox, given } = toolsOf(RULES)
  const agent = shop.startAgent({ effects: { toolbox } })
  const runId = await createIn(shop, { approvals: [{ tool: '*', action: 'allow' }] })
  const question = questionIn(await shop.until(runId, 'approval_required'))
  expect(question).toMatchObject({
    rule: { of: 'tool', index: 0 },
    network: { allow: [...NPM, 'api.example.org'] },
  })
  await agent.stop()
  await shop.command(runId, answerTo(question, 'allow'))
  shop.startAgent({ unfinished: [runId], effects: { toolbox } })
  const records = await shop.until(runId, 'run_end')
  expect(resultOf(records)).toMatchObject({
    outcome: 'ok',
    output: expect.stringContaining('reach'),
  })
  expect(given).toEqual([{ allow: [...NPM, 'api.example.org'] }])
  const offered = shop.requests[0]?.tools
  expect(offered).toContain('request_network')
})

type Changes = {
  readonly rules?: Partial<NetworkRules>
  readonly config?: Partial<RunConfig>
}
const EXCLUDED = { tools: { exclude: ['request_network'] } }

test.each<[string, string[], outcome: string, why: string, Changes?]>([
  ['those beyond the server', ARGS.hosts, 'error', 'api.example.org', { rules: { most: NPM } }],
  ['those that it reaches', ['preset:npm'], 'ok', 'reach', { config: { network: { allow: NPM } } }],
  ['the presets of its goal', ['preset:goal'], 'rejected', 'preset'],
  ['an address', ['10.0.0.1'], 'rejected', 'name of a host'],
  ['any, without the tool', ARGS.hosts, 'rejected', 'no tool', { config: EXCLUDED }],
  ['any, without a network', ARGS.hosts, 'rejected', 'no tool', { rules: { most: 'none' } }],
  ['any, at another level', ARGS.hosts, 'rejected', 'no tool', { rules: { level: 'landlock' } }],
])('nobody is asked for hosts: %s', async (_, hosts, outcome, why, { rules, config } = {}) => {
  await using shop = await Workshop.open(script({ ...ARGS, hosts }))
  const { toolbox } = toolsOf({ ...RULES, ...rules })
  shop.startAgent({ effects: { toolbox } })
  const records = await shop.until(await createIn(shop, config), 'run_end')
  expect(records.some(({ kind }) => kind === 'approval_required')).toBe(false)
  expect(resultOf(records)).toMatchObject({ outcome, output: expect.stringContaining(why) })
})
