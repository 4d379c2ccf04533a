import { mkdir, mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { err, ok } from 'neverthrow'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { planRun } from '../../../src/agent/planning/plan-run.ts'
import type { NetworkRules } from '../../../src/agent/planning/problems.ts'
import { changeProblems } from '../../../src/agent/planning/problems.ts'
import { goals } from '../../../src/checks/catalogue.ts'
import type { ConfigChanges, RunRequest } from '../../../src/domain/run-config.ts'
import { NO_SERVERS } from '../../../src/mcp/servers.ts'
import { createCatalogue } from '../../../src/models/catalogue.ts'
import { DEFAULT_LIMITS } from '../../../src/runner/run-command.ts'
import { type Isolation, NO_ISOLATION } from '../../../src/sandbox/isolation.ts'
import { policyOfRun } from '../../../src/server/commands.ts'
import { FAKES } from '../../domain/mask/fakes.ts'
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

test('a good request becomes the configuration of a run', async () => {
  const planned = (await plan({ cwd: join(cwd, '.', 'x', '..') }))._unsafeUnwrap()
  expect(planned).toMatchObject({
    system_prompt: expect.stringContaining('# Goal: pytest'),
    config: { cwd, shell_goal: null },
  })
})

test('a run has the level of the server, or the stricter one that it asks for', async () => {
  const { isolation } = (await plan())._unsafeUnwrap()
  expect(isolation).toMatchObject({ level: 'landlock', network: 'none' })
  expect(isolation).not.toHaveProperty('at_least')
  const same = (await plan({ isolation: 'landlock' }))._unsafeUnwrap()
  expect(same.isolation).toMatchObject({ level: 'landlock', at_least: 'landlock' })
})

test.each([
  ['none', 'A run may ask for a stricter level, never for a weaker one.'],
  ['namespaces', 'There is no bwrap.'],
] as const)('a run that asks for the level %s is refused, with the reason', async (level, why) => {
  const problems = (await plan({ isolation: level }))._unsafeUnwrapErr()
  expect(problems).toEqual([{ field: 'isolation', message: expect.stringContaining(why) }])
})

test('a run does without the tools that it names, and a name that no tool has is refused', async () => {
  const tools = { exclude: ['git_log'] }
  expect((await plan({ tools }))._unsafeUnwrap().config).toMatchObject({ tools })
  const problems = (await plan({ tools: { exclude: ['git_log', 'grep'] } }))._unsafeUnwrapErr()
  expect(problems).toEqual([
    {
      field: 'tools.exclude',
      message: expect.stringMatching(
        /^There is no tool grep to leave out\. .*bash_exec, git_log\./,
      ),
    },
  ])
})

test('all problems are reported together', async () => {
  const problems = await plan({ goal: 'win', cwd: '/does/not/exist', model_name: 'gpt-5' })
  const named = problems._unsafeUnwrapErr()
  expect(named.map(({ field }) => field)).toEqual(['goal', 'cwd', 'model_name'])
  expect(named[0]?.message).toContain('pytest, pyright, npm-test')
  expect(named[1]?.message).toContain('/does/not/exist does not exist')
  expect(named[2]?.message).toMatch(/^The model "gpt-5" needs OPENAI_API_KEY, which is not set\./)
})

test('a plan says which folder the project is, through no link', async () => {
  const link = join(data, 'named')
  await symlink(cwd, link)
  const { config, project } = (await plan({ cwd: link }))._unsafeUnwrap()
  const { dev, ino } = await stat(cwd, { bigint: true })
  expect(config.cwd).toBe(link)
  expect(project).toEqual({ path: await realpath(cwd), device: `${dev}`, inode: `${ino}` })
})

test('neither a file nor a folder that git obeys is a project', async () => {
  for (const name of ['.git', '.git/hooks', '.GIT']) {
    const folder = join(data, 'repository', name)
    await mkdir(folder, { recursive: true })
    const problems = (await plan({ cwd: folder }))._unsafeUnwrapErr()
    const message = expect.stringContaining('which git obeys')
    expect(problems).toEqual([{ field: 'cwd', message }])
  }
  const [problem] = (await plan({ cwd: join(cwd, 'file') }))._unsafeUnwrapErr()
  expect(problem?.message).toContain('is not a directory')
})

test('a shell-goal is fixed when the run is created', async () => {
  await writeFile(join(cwd, '.retrai.yml'), 'goal: shell-goal\ncheck_command: make check\n')
  const planned = (await plan({ goal: 'shell-goal' }))._unsafeUnwrap()
  expect(planned.config.shell_goal?.check_command).toBe('make check')
})

test('the limits of the server apply if a request asks for more, or names no limit', async () => {
  const ceilings = { max_cost_usd: 5, max_tokens: 1000, max_seconds: null }
  const more = (await plan({ max_cost_usd: 6, max_tokens: 1001 }, ceilings))._unsafeUnwrapErr()
  expect(more.map(({ field }) => field)).toEqual(['max_cost_usd', 'max_tokens'])
  const asked = { max_cost_usd: 2, max_seconds: 60 }
  const { config } = (await plan(asked, ceilings))._unsafeUnwrap()
  expect(config).toMatchObject({ max_cost_usd: 2, max_tokens: 1000, max_seconds: 60 })
})

test('a run that needs a secret is refused, because its first record would hold only the masked form', async () => {
  const [token = ''] = FAKES['github-token'] ?? []
  const settings = `check_command: "curl -H 'Authorization: Bearer ${token}' ://host"\n`
  await writeFile(join(cwd, '.retrai.yml'), settings)
  const [problem] = (await plan({ goal: 'shell-goal' }))._unsafeUnwrapErr()
  expect(problem?.field).toBe('goal')
  expect(problem?.message).toContain('The check contains a secret')
  expect(problem?.message).toContain('[masked:authorization]')
  await mkdir(join(cwd, token))
  const folder = (await plan({ cwd: join(cwd, token) }))._unsafeUnwrapErr()
  expect(folder.map(({ field }) => field)).toEqual(['cwd'])
  expect(JSON.stringify([problem, folder])).not.toContain(token)
})

test('a project that contains the data folder, or is inside it, is refused, with advice', async () => {
  await mkdir(join(data, 'project'))
  await symlink(join(data, 'data'), join(data, 'link'))
  const wrong: readonly (readonly [string, RegExp])[] = [
    [data, /contains the server's data folder.* move .*\/data to .*--data-dir \(RETRAI_DATA_DIR\)/],
    ['/', /contains the server's data folder/],
    [join(data, 'data'), /contains the server's data folder/],
    [join(data, 'link'), /contains the server's data folder/],
    [join(data, 'data/keys'), /is in the server's data folder/],
    [join(data, 'link/keys'), /is in the server's data folder/],
  ]
  for (const [folder, words] of wrong) {
    const [problem, ...more] = (await plan({ cwd: folder }))._unsafeUnwrapErr()
    expect(more).toEqual([])
    expect(problem?.field).toBe('cwd')
    expect(problem?.message).toMatch(words)
  }
  expect((await plan({ cwd: join(data, 'project') })).isOk()).toBe(true)
})

test('a cost limit needs a known price, also if it is the limit of the server', async () => {
  const model_name = 'anthropic/claude-haiku-5-5'
  expect((await plan({ model_name })).isOk()).toBe(true)
  const [problem] = (await plan({ model_name, max_cost_usd: 5 }))._unsafeUnwrapErr()
  expect(problem?.field).toBe('max_cost_usd')
  expect(problem?.message).toContain('Add the price to the file RETRAI_PRICES')
  const byServer = await plan({ model_name }, { ...NO_CEILINGS, max_cost_usd: 5 })
  expect(byServer._unsafeUnwrapErr().map(({ field }) => field)).toEqual(['max_cost_usd'])
  expect((await plan({ max_cost_usd: 5 })).isOk()).toBe(true)
})

test('a setting that a model does not have is refused, with those that it has', async () => {
  const wrong = await plan({ reasoning_effort: 'minimal', max_output_tokens: 500_000 })
  expect(wrong._unsafeUnwrapErr()).toEqual([
    {
      field: 'reasoning_effort',
      message:
        'The model "claude-sonnet-4-6" has no reasoning_effort "minimal". Choose one of none, low, medium, high, or leave it out.',
    },
    {
      field: 'max_output_tokens',
      message:
        'max_output_tokens must be at most 64000, the limit of the model "claude-sonnet-4-6".',
    },
  ])
  expect((await plan({ reasoning_effort: 'high', max_output_tokens: 9_000 })).isOk()).toBe(true)
})

test('each fallback model must be able to work, and must differ from the others', async () => {
  const fallback_models = ['gpt-5', 'claude-sonnet-4-6']
  const problems = (await plan({ fallback_models }))._unsafeUnwrapErr()
  expect(problems.map(({ field }) => field)).toEqual(['fallback_models', 'fallback_models'])
  expect(problems[0]?.message).toContain('which the run has already')
  expect(problems[1]?.message).toContain('OPENAI_API_KEY')
  expect((await plan({ fallback_models: ['claude-opus-5'] })).isOk()).toBe(true)
})

test('a change is checked together with the configuration that the run has', async () => {
  const models = createCatalogue({ ANTHROPIC_API_KEY: 'a' })
  const { config } = (
    await plan({
      ...{ model_name: 'claude-opus-5', max_cost_usd: 5, reasoning_effort: 'max' },
    })
  )._unsafeUnwrap()
  const problems = async (changes: ConfigChanges) => {
    const found = await changeProblems(changes, config, { models, ceilings: NO_CEILINGS })
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
  const found = await changeProblems({ max_cost_usd: 3 }, unknown, {
    ...{ models, ceilings: NO_CEILINGS },
  })
  expect(found.map(({ field }) => field)).toEqual(['max_cost_usd'])
  // The key of the model may be gone: the rest can still be changed.
  expect(
    await changeProblems({ hitl_enabled: true }, config, {
      models: createCatalogue({}),
      ceilings: NO_CEILINGS,
    }),
  ).toEqual([])
})

test('the presets of a run are recorded as lists of hosts', async () => {
  const planned = await plan({ goal: 'npm-test', network: { allow: ['preset:goal'] } })
  expect(planned._unsafeUnwrap().config.network).toEqual({
    allow: ['registry.npmjs.org', 'registry.yarnpkg.com'],
  })
})

test.each([
  [{ most: 'none' }, { allow: ['pypi.org'] }, 'no run have a network (RETRAI_NETWORK=none)'],
  [{ most: 'hosts' }, 'full', 'start it with RETRAI_NETWORK=full'],
  [{ most: ['pypi.org'] }, { allow: ['pypi.org', 'evil.com'] }, 'no run reach evil.com'],
  [{ most: 'full', fullProblem: 'Install passt.' }, 'full', 'Install passt.'],
  [{ level: 'landlock' }, { allow: ['pypi.org'] }, 'a run cannot choose its network'],
  [{ level: 'none' }, 'none', 'a run cannot choose its network'],
] as const)('a server with %j refuses the network %j', async (rules, network, why) => {
  const planned = await plan({ network }, NO_CEILINGS, { ...ANY_HOSTS, ...rules })
  expect(planned._unsafeUnwrapErr()).toEqual([
    { field: 'network', message: expect.stringContaining(why) },
  ])
})

test.each([
  [{ most: 'none' }, undefined],
  [{ most: 'none' }, 'none'],
  [{ most: 'hosts' }, { allow: ['anything.example'] }],
  [{ most: ['*.example'] }, { allow: ['anything.example'] }],
  [{ most: 'full' }, 'full'],
  [{ level: 'none' }, undefined],
] as const)('a server with %j accepts the network %j', async (rules, network) => {
  const asked = network === undefined ? {} : { network }
  const planned = await plan(asked, NO_CEILINGS, { ...ANY_HOSTS, ...rules })
  expect(planned.isOk()).toBe(true)
})

test('a goal without registries has no preset', async () => {
  const planned = await plan({ goal: 'make-test', network: { allow: ['preset:goal'] } })
  expect(planned._unsafeUnwrapErr()[0]?.message).toContain('The goal make-test has no registries')
})
