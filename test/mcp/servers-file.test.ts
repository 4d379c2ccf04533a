import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { McpRequest } from '../../src/domain/mcp-servers.ts'
import { filledIn, planServers, readServersFile } from '../../src/mcp/servers.ts'

const variable = (name: string) => `$\{${name}}`

async function read(content: unknown, env: Record<string, string> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-mcp-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'mcp.json')
  await writeFile(
    file,
    typeof content === 'string' ? content : JSON.stringify({ mcpServers: content }),
  )
  return readServersFile(file, env)
}

test('servers are read with their defaults; values of variables are not recorded', async () => {
  const env = { GITHUB_TOKEN: 'ghp_something' }
  const configuration = (
    await read(
      { github: { command: 'npx', args: ['-y', 'x'], env: { TOKEN: variable('GITHUB_TOKEN') } } },
      env,
    )
  )._unsafeUnwrap()
  const github = configuration.servers.get('github')
  expect(github?.recorded).toMatchObject({
    ...{ name: 'github', source: 'configuration', required: true, on_change: 'stop' },
    trust_hints: false,
  })
  expect(JSON.stringify(github?.recorded)).not.toContain('TOKEN')
  expect(filledIn(github?.env.TOKEN ?? '', configuration)).toBe('ghp_something')
})

test('every problem of the file is named with its place', async () => {
  const error = (
    await read({
      'Bad Name': { command: 'a' },
      none: {},
      both: { command: 'a', url: 'https://a.example' },
      old: { type: 'sse', url: 'https://a.example' },
      literal: { url: 'https://a.example', headers: { authorization: 'Bearer abc' } },
      unset: { command: 'a', env: { KEY: variable('NO_SUCH_VARIABLE') } },
      odd: { command: 'a', colour: 'red' },
    })
  )._unsafeUnwrapErr()
  for (const part of [
    ...['Bad Name: must have lower-case letters', 'none: must have a command or a url'],
    ...['both: must have a command or a url, not both', 'old.type: must be stdio or http'],
    ...['literal.headers.authorization: must name a variable'],
    ...['unset: the variable NO_SUCH_VARIABLE is not set', 'odd: has no field '],
  ]) {
    expect(error).toContain(part)
  }
})

test('a file that is missing or is not JSON is refused with its name', async () => {
  expect((await read('{'))._unsafeUnwrapErr()).toMatch(
    /RETRAI_MCP_SERVERS: the file .*mcp.json cannot be read/,
  )
  expect((await readServersFile('/no/such/file', {}))._unsafeUnwrapErr()).toContain('/no/such/file')
})

const rules = async (
  own: 'none' | 'commands' | 'all' = 'commands',
  most: 'none' | 'hosts' = 'hosts',
) => ({
  configuration: (
    await read({ docs: { command: 'a', tools: ['search', 'read'] } })
  )._unsafeUnwrap(),
  ...{ own, most },
})

test.each<[string, McpRequest, Awaited<ReturnType<typeof rules>>['own'], RegExp]>([
  ['a name that is not known', 'other', 'all', /no MCP server "other".*Choose one of: docs/],
  [
    'a change that would loosen it',
    { name: 'docs', on_change: 'record' },
    'all',
    /continue after a change/,
  ],
  ['another tool', { name: 'docs', tools: ['write'] }, 'all', /does not allow write/],
  ['a limit', { name: 'docs', call_timeout_s: 9 }, 'all', /call_timeout_s .* is fixed/],
  ['its name for another program', { name: 'docs', command: 'b' }, 'all', /Choose another name/],
  ['a command', { name: 'own', command: 'b' }, 'none', /lets no run bring an MCP server/],
  ['a URL', { name: 'own', url: 'https://a.example' }, 'commands', /RETRAI_MCP_REQUESTS=all/],
  ['a private address', { name: 'own', url: 'http://10.0.0.1' }, 'all', /no address of the public/],
  [
    'the metadata of a cloud',
    { name: 'own', url: 'http://[::ffff:169.254.169.254]' },
    'all',
    /public/,
  ],
  ['a password', { name: 'own', url: 'https://u:p@a.example' }, 'all', /no user name or password/],
])('a run may not ask for %s', async (_, request, own, why) => {
  const planned = planServers([request], await rules(own))
  expect(
    planned
      ._unsafeUnwrapErr()
      .map(({ message }) => message)
      .join(),
  ).toMatch(why)
})

test('a run may not use a server at a URL if runs have no network', async () => {
  const planned = planServers(
    [{ name: 'own', url: 'https://a.example' }],
    await rules('all', 'none'),
  )
  expect(planned.isErr()).toBe(true)
})

test('a problem names the server by its place', async () => {
  const own = { name: 'own', url: 'https://a.example' }
  const planned = planServers(['docs', { ...own, name: 'docs' }, own, own], await rules('commands'))
  const fields = planned._unsafeUnwrapErr().map(({ field }) => field)
  expect(fields).toEqual(['mcp_servers.1', 'mcp_servers.2', 'mcp_servers.3'])
  const twice = planServers(['docs', 'docs'], await rules())
  expect(twice._unsafeUnwrapErr()).toMatchObject([{ field: 'mcp_servers.1' }])
})

test('a run may be stricter than the configuration, and may bring a command', async () => {
  const own = { name: 'own', command: 'b' }
  const planned = planServers([{ name: 'docs', tools: ['read'] }, own], await rules())
  expect(planned._unsafeUnwrap()).toMatchObject([
    { name: 'docs', source: 'configuration', tools: ['read'] },
    { name: 'own', source: 'request', on_change: 'stop', required: true },
  ])
})
