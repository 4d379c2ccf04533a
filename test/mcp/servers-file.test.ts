import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { McpRequest } from '../../src/domain/mcp-servers.ts'
import { filledIn, type McpRules, planServers, readServersFile } from '../../src/mcp/servers.ts'
import { temporaryFolder } from '../runner/support.ts'

const variable = (name: string) => `$\{${name}}`

async function read(content: unknown, env: Record<string, string> = {}) {
  const file = join(await temporaryFolder(), 'mcp.json')
  const text = typeof content === 'string' ? content : JSON.stringify({ mcpServers: content })
  await writeFile(file, text)
  return readServersFile(file, env)
}

test('servers are read with their defaults; values of variables are not recorded', async () => {
  const env = { GITHUB_TOKEN: 'ghp_something' }
  const server = { command: 'npx', args: ['-y', 'x'], env: { TOKEN: variable('GITHUB_TOKEN') } }
  const configuration = (await read({ github: server }, env))._unsafeUnwrap()
  const github = configuration.servers.get('github')
  expect(github?.recorded).toMatchObject({
    name: 'github',
    source: 'configuration',
    required: true,
    on_change: 'stop',
    trust_hints: false,
  })
  expect(JSON.stringify(github?.recorded)).not.toContain('TOKEN')
  expect(filledIn(github?.env.TOKEN ?? '', configuration)).toBe('ghp_something')
})

test('every problem of the file is named with its place', async () => {
  const file = await read({
    'Bad Name': { command: 'a' },
    none: {},
    both: { command: 'a', url: 'https://a.example' },
    old: { type: 'sse', url: 'https://a.example' },
    literal: { url: 'https://a.example', headers: { authorization: 'Bearer abc' } },
    unset: { command: 'a', env: { KEY: variable('NO_SUCH_VARIABLE') } },
    odd: { command: 'a', colour: 'red' },
  })
  const error = file._unsafeUnwrapErr()
  for (const part of [
    'Bad Name: must have lower-case letters',
    'none: must have a command or a url',
    'both: must have a command or a url, not both',
    'old.type: must be stdio or http',
    'literal.headers.authorization: must name a variable',
    'unset: the variable NO_SUCH_VARIABLE is not set',
    'odd: has no field ',
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

/** Plans servers of a run where the configuration has the server `docs`. */
async function planned(
  requested: readonly McpRequest[],
  own: McpRules['own'] = 'commands',
  most: McpRules['most'] = 'hosts',
) {
  const docs = await read({ docs: { command: 'a', tools: ['search', 'read'] } })
  return planServers(requested, { configuration: docs._unsafeUnwrap(), own, most })
}

test.each<[McpRequest, McpRules['own'], RegExp]>([
  ['other', 'all', /no MCP server "other".*Choose one of: docs/],
  // It may not loosen what the configuration says, or ask for more.
  [{ name: 'docs', on_change: 'record' }, 'all', /continue after a change/],
  [{ name: 'docs', tools: ['write'] }, 'all', /does not allow write/],
  [{ name: 'docs', call_timeout_s: 9 }, 'all', /call_timeout_s .* is fixed/],
  [{ name: 'docs', command: 'b' }, 'all', /Choose another name/],
  [{ name: 'own', command: 'b' }, 'none', /lets no run bring an MCP server/],
  [{ name: 'own', url: 'https://a.example' }, 'commands', /RETRAI_MCP_REQUESTS=all/],
  [{ name: 'own', url: 'http://10.0.0.1' }, 'all', /no address of the public/],
  // The metadata of a cloud.
  [{ name: 'own', url: 'http://[::ffff:169.254.169.254]' }, 'all', /public/],
  [{ name: 'own', url: 'https://u:p@a.example' }, 'all', /no user name or password/],
])('a run may not ask for %j where it may bring: %s', async (request, own, why) => {
  const problems = (await planned([request], own))._unsafeUnwrapErr()
  expect(problems).toMatchObject([{ message: expect.stringMatching(why) }])
})

test('a run may not use a server at a URL if runs have no network', async () => {
  const own = { name: 'own', url: 'https://a.example' }
  expect((await planned([own], 'all', 'none')).isErr()).toBe(true)
})

test('a problem names the server by its place', async () => {
  const own = { name: 'own', url: 'https://a.example' }
  const problems = await planned(['docs', { ...own, name: 'docs' }, own, own])
  const fields = problems._unsafeUnwrapErr().map(({ field }) => field)
  expect(fields).toEqual(['mcp_servers.1', 'mcp_servers.2', 'mcp_servers.3'])
  const twice = await planned(['docs', 'docs'])
  expect(twice._unsafeUnwrapErr()).toMatchObject([{ field: 'mcp_servers.1' }])
})

test('a run may be stricter than the configuration, and may bring a command', async () => {
  const own = { name: 'own', command: 'b' }
  const both = await planned([{ name: 'docs', tools: ['read'] }, own])
  expect(both._unsafeUnwrap()).toMatchObject([
    { name: 'docs', source: 'configuration', tools: ['read'] },
    { name: 'own', source: 'request', on_change: 'stop', required: true },
  ])
})
