import { mkdir, mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { err, ok } from 'neverthrow'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { planRun } from '../../../src/agent/planning/plan-run.ts'
import type { NetworkRules } from '../../../src/agent/planning/problems.ts'
import { changeProblems } from '../../../src/agent/planning/problems.ts'
import { goals } from '../../../src/checks/catalogue.ts'
import type { Network } from '../../../src/domain/network.ts'
import type { ConfigChanges, RunRequest } from '../../../src/domain/run-config.ts'
import { NO_SERVERS } from '../../../src/mcp/servers.ts'
import { createCatalogue } from '../../../src/models/catalogue.ts'
import { DEFAULT_LIMITS } from '../../../src/runner/run-command.ts'
import { type Isolation, NO_ISOLATION } from '../../../src/sandbox/isolation.ts'
import { policyOfRun } from '../../../src/server/commands.ts'
import { FAKES } from '../../masking/fakes.ts'
import { openWorkspace } from '../../workspace/support.ts'

let cwd: string
let data: string
beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'retrai-plan-data-'))
  await mkdir(join(data, 'data/keys'), { recursive: true })
  cwd = await mkdtemp(join(tmpdir(), 'retrai-plan-'))
  await writeFile(join(cwd, 'file'), '')
})
afterAll(async () => {
  await rm(cwd, { recursive: true })
  await rm(data, { recursive: true })
})

/** A server that isolates with Landlock, and has no bubblewrap. */
const ISOLATION: Isolation = {
  ...NO_ISOLATION,
  level: 'landlock',
  atLeast: async (level) => (level === 'namespaces' ? err('There is no bwrap.') : ok(ISOLATION)),
}

const NO_CEILINGS = { max_cost_usd: null, max_tokens: null, max_seconds: null }
const ANY_HOSTS: NetworkRules = { most: 'hosts', level: 'namespaces', fullProblem: null }
const plan = (
  changes: Partial<RunRequest> = {},
  ceilings = NO_CEILINGS as Ceilings,
  network = ANY_HOSTS,
) =>
  planRun(
    {
      goal: 'pytest',
      cwd,
      model_name: 'claude-sonnet-4-6',
      max_iterations: 3,
      hitl_enabled: false,
      ...NO_CEILINGS,
      ...changes,
    },
    {
      goals,
      models: createCatalogue({ ANTHROPIC_API_KEY: 'a', RETRAI_LLM_API_KEY: 'unused' }),
      ceilings,
      dataDir: join(data, 'data'),
      openWorkspace,
      network,
      tools: ['bash_exec', 'git_log'],
      mcp: { configuration: NO_SERVERS, own: 'none' },
      isolate: (project, wanted) => policyOfRun(ISOLATION, DEFAULT_LIMITS, project, wanted),
    },
  )
type Ceilings = Parameters<typeof planRun>[1]['ceilings']
type Asked = Parameters<typeof plan>
const planned = async (...asked: Asked) => (await plan(...asked))._unsafeUnwrap()
const problemsOf = async (...asked: Asked) => (await plan(...asked))._unsafeUnwrapErr()

test('a good request becomes the configuration of a run', async () => {
  const { system_prompt, config, isolation } = await planned({ cwd: join(cwd, '.', 'x', '..') })
  expect(system_prompt).toContain('# Goal: pytest')
  expect(config).toMatchObject({ cwd, shell_goal: null })
  expect(isolation).toMatchObject({ level: 'landlock', network: 'none' })
  expect(isolation).not.toHaveProperty('at_least')
})

const UNPRICED = 'anthropic/claude-haiku-5-5'
const TOOLS = { exclude: ['git_log'] }
const LIMITS = { max_cost_usd: 5, max_tokens: 1000, max_seconds: null }
const rules = (changes: Partial<NetworkRules>): Asked[2] => ({ ...ANY_HOSTS, ...changes })
const within = (changes: Partial<Ceilings>): Ceilings => ({ ...NO_CEILINGS, ...changes })
const NONE = within({})

const ONE: Network = { allow: ['pypi.org'] }
const TWO: Network = { allow: ['pypi.org', 'a.com'] }

test.each<[Asked, ...(readonly [field: string, message: RegExp])[]]>([
  [
    [{ isolation: 'none' }],
    ['isolation', /may ask for a stricter level, never for a weaker one\./],
  ],
  [[{ isolation: 'namespaces' }], ['isolation', /There is no bwrap\./]],
  [
    [{ tools: { exclude: ['git_log', 'grep'] } }],
    ['tools.exclude', /^There is no tool grep to leave out\. .*bash_exec, git_log\./],
  ],
  [
    [{ goal: 'win', cwd: '/does/not/exist', model_name: 'gpt-5' }],
    ['goal', /pytest, pyright, npm-test/],
    ['cwd', /\/does\/not\/exist does not exist/],
    ['model_name', /^The model "gpt-5" needs OPENAI_API_KEY, which is not set\./],
  ],
  [
    [{ max_cost_usd: 6, max_tokens: 1001 }, LIMITS],
    ['max_cost_usd', /at most 5/],
    ['max_tokens', /at most 1000/],
  ],
  [
    [{ model_name: UNPRICED, max_cost_usd: 5 }],
    ['max_cost_usd', /Add the price to .* RETRAI_PRICES/],
  ],
  // If the server has a limit of cost, each model needs a price.
  [
    [{ model_name: UNPRICED }, within({ max_cost_usd: 5 })],
    ['max_cost_usd', /price/],
  ],
  [
    [{ reasoning_effort: 'minimal', max_output_tokens: 500_000 }],
    ['reasoning_effort', /Choose one of none, low, medium, high, or leave it out\.$/],
    ['max_output_tokens', /at most 64000, the limit of the model "claude-sonnet-4-6"/],
  ],
  [
    [{ fallback_models: ['gpt-5', 'claude-sonnet-4-6'] }],
    ['fallback_models', /which the run has already/],
    ['fallback_models', /OPENAI_API_KEY/],
  ],
  [
    [{ goal: 'make-test', network: { allow: ['preset:goal'] } }],
    ['network', /The goal make-test has no registries/],
  ],
  [
    [{ network: ONE }, NONE, rules({ most: 'none' })],
    ['network', /\(RETRAI_NETWORK=none\)/],
  ],
  [
    [{ network: 'full' }, NONE, rules({ most: 'hosts' })],
    ['network', /with RETRAI_NETWORK=full/],
  ],
  [
    [{ network: TWO }, NONE, rules({ most: ['pypi.org'] })],
    ['network', /no run reach a\.com/],
  ],
  [
    [{ network: 'full' }, NONE, rules({ most: 'full', fullProblem: 'Install passt.' })],
    ['network', /Install passt\./],
  ],
  [
    [{ network: ONE }, NONE, rules({ level: 'landlock' })],
    ['network', /cannot choose its network/],
  ],
  [
    [{ network: 'none' }, NONE, rules({ level: 'none' })],
    ['network', /cannot choose its network/],
  ],
])('%j is refused, with the field and the reason', async (asked, ...problems) => {
  expect(await problemsOf(...asked)).toEqual(
    problems.map(([field, message]) => ({ field, message: expect.stringMatching(message) })),
  )
})

test.each<[Asked]>([
  [[{ model_name: UNPRICED }]],
  [[{ max_cost_usd: 5 }]],
  [[{ reasoning_effort: 'high', max_output_tokens: 9_000 }]],
  [[{ fallback_models: ['claude-opus-5'] }]],
  [[{}, NONE, rules({ most: 'none' })]],
  [[{ network: 'none' }, NONE, rules({ most: 'none' })]],
  [[{ network: TWO }, NONE, rules({ most: 'hosts' })]],
  [[{ network: ONE }, NONE, rules({ most: ['*.org'] })]],
  [[{ network: 'full' }, NONE, rules({ most: 'full' })]],
  [[{}, NONE, rules({ level: 'none' })]],
])('%j is accepted', async (asked) => {
  expect((await plan(...asked)).isOk()).toBe(true)
})

test('what a run asks for is recorded: its level, tools and hosts, and the limits of the server where it names none', async () => {
  const { isolation } = await planned({ isolation: 'landlock' })
  expect(isolation).toMatchObject({ level: 'landlock', at_least: 'landlock' })
  const asked = { goal: 'npm-test', tools: TOOLS, max_cost_usd: 2, max_seconds: 60 }
  const { config } = await planned({ ...asked, network: { allow: ['preset:goal'] } }, LIMITS)
  expect(config).toMatchObject({ max_cost_usd: 2, max_tokens: 1000, max_seconds: 60, tools: TOOLS })
  expect(config.network).toEqual({ allow: ['registry.npmjs.org', 'registry.yarnpkg.com'] })
})

test('a plan says which folder the project is, through no link', async () => {
  const link = join(data, 'named')
  await symlink(cwd, link)
  const { config, project } = await planned({ cwd: link })
  const { dev, ino } = await stat(cwd, { bigint: true })
  expect(config.cwd).toBe(link)
  expect(project).toEqual({ path: await realpath(cwd), device: `${dev}`, inode: `${ino}` })
})

test('a folder that no run may have is refused, with advice', async () => {
  for (const path of ['project', 'repository/.git/hooks', 'other/.GIT']) {
    await mkdir(join(data, path), { recursive: true })
  }
  await symlink(join(data, 'data'), join(data, 'link'))
  const contains = /contains the server's data folder/
  const inside = /is in the server's data folder/
  for (const [folder, words] of [
    [data, /contains the server's data folder.* move .*\/data to .*--data-dir \(RETRAI_DATA_DIR\)/],
    ['/', contains],
    [join(data, 'data'), contains],
    [join(data, 'link'), contains],
    [join(data, 'data/keys'), inside],
    [join(data, 'link/keys'), inside],
    [join(data, 'repository/.git'), /which git obeys/],
    [join(data, 'repository/.git/hooks'), /which git obeys/],
    [join(data, 'other/.GIT'), /which git obeys/],
    [join(cwd, 'file'), /is not a directory/],
  ] as const) {
    const [problem, ...more] = await problemsOf({ cwd: folder })
    expect(problem).toEqual({ field: 'cwd', message: expect.stringMatching(words) })
    expect(more).toEqual([])
  }
  expect((await plan({ cwd: join(data, 'project') })).isOk()).toBe(true)
})

test('a shell-goal is fixed when the run is created', async () => {
  await writeFile(join(cwd, '.retrai.yml'), 'goal: shell-goal\ncheck_command: make check\n')
  const { config } = await planned({ goal: 'shell-goal' })
  expect(config.shell_goal?.check_command).toBe('make check')
})

test('a run that needs a secret is refused, because its first record would hold only the masked form', async () => {
  const [token = ''] = FAKES['github-token'] ?? []
  const settings = `check_command: "curl -H 'Authorization: Bearer ${token}' ://host"\n`
  await writeFile(join(cwd, '.retrai.yml'), settings)
  const [problem] = await problemsOf({ goal: 'shell-goal' })
  expect(problem?.field).toBe('goal')
  expect(problem?.message).toMatch(/The check contains a secret.*\[masked:authorization\]/)
  await mkdir(join(cwd, token))
  const folder = await problemsOf({ cwd: join(cwd, token) })
  expect(folder.map(({ field }) => field)).toEqual(['cwd'])
  await writeFile(join(cwd, '.retrai.yml'), 'check_command: make check\n')
  const { config } = await planned({ goal: 'shell-goal' })
  const changes = { model_name: `claude-${token}`, fallback_models: [`claude-${token}`] }
  const deps = { models: createCatalogue({ ANTHROPIC_API_KEY: 'a' }), ceilings: NO_CEILINGS }
  const changed = await changeProblems(changes, config, deps)
  expect(new Set(changed.map(({ field }) => field))).toEqual(new Set(Object.keys(changes)))
  const secrets = changed.filter(({ message }) => message.includes('contains a secret'))
  expect(secrets.map(({ field }) => field)).toEqual(Object.keys(changes))
  expect(JSON.stringify([problem, folder, secrets])).not.toContain(token)
})

test('a change is checked together with the configuration that the run has', async () => {
  const models = createCatalogue({ ANTHROPIC_API_KEY: 'a' })
  const asked = { model_name: 'claude-opus-5', max_cost_usd: 5, reasoning_effort: 'max' } as const
  const { config } = await planned(asked)
  const problems = async (changes: ConfigChanges, of = config, known = models) => {
    const found = await changeProblems(changes, of, { models: known, ceilings: NO_CEILINGS })
    return found.map(({ field }) => field)
  }
  expect(await problems({ model_name: 'claude-haiku-5-5' })).toEqual(['max_cost_usd'])
  expect(await problems({ model_name: 'claude-haiku-4-5' })).toEqual(['reasoning_effort'])
  expect(await problems({ model_name: 'claude-haiku-4-5', reasoning_effort: null })).toEqual([])
  expect(await problems({ model_name: 'gpt-5' })).toEqual(['model_name'])
  expect(await problems({ fallback_models: ['claude-sonnet-5'] })).toEqual([])
  const high = { max_cost_usd: null, max_tokens: 1_001, max_seconds: 9 }
  const ceilings = { max_cost_usd: 5, max_tokens: 1_000, max_seconds: 10 }
  expect(await changeProblems(high, config, { models, ceilings })).toEqual([
    { field: 'max_cost_usd', message: 'max_cost_usd must be at most 5, the limit of this server.' },
    { field: 'max_tokens', message: 'max_tokens must be at most 1000, the limit of this server.' },
  ])
  const unknown = { ...config, model_name: 'claude-haiku-5-5', max_cost_usd: null }
  expect(await problems({ max_cost_usd: 3 }, unknown)).toEqual(['max_cost_usd'])
  // The key of the model may be gone: the rest can still be changed.
  expect(await problems({ hitl_enabled: true }, config, createCatalogue({}))).toEqual([])
})
