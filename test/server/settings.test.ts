import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readSettings, readStorePlace } from '../../src/server/read-settings.ts'
import { isLoopback, secretsOf } from '../../src/server/settings.ts'

const read = (flags = {}, env = {}) => readSettings(flags, env)

test('every setting has its default', () => {
  expect(read()._unsafeUnwrap()).toEqual({
    RETRAI_HOST: '127.0.0.1',
    RETRAI_PORT: 8000,
    RETRAI_DATA_DIR: expect.stringMatching(/\.local\/share\/retrai\/[\w.-]+-[0-9a-f]{8}$/),
    RETRAI_LOG_LEVEL: 'info',
    RETRAI_MAX_RUNS_AT_WORK: 16,
    RETRAI_SUBAGENT_DEPTH: 2,
    RETRAI_MAX_SUBAGENTS: 20,
    RETRAI_COMMAND_OUTPUT_MIB: 512,
    RETRAI_COMMAND_PROCESSES: 512,
    RETRAI_COMMANDS_PROCESSES: 4096,
    RETRAI_RUN_HOME_MIB: 4096,
    RETRAI_MIN_FREE_DISK_MIB: 512,
    RETRAI_ISOLATION: 'auto',
    RETRAI_NETWORK: 'hosts',
    RETRAI_MCP_REQUESTS: 'commands',
    RETRAI_CHECKPOINT_SECONDS: 60,
    RETRAI_LEASE_SECONDS: 15,
    RETRAI_MAX_CONNECTIONS: 12_000,
    RETRAI_MAX_CONNECTIONS_PER_CLIENT: 6_000,
    RETRAI_MAX_SOCKETS: 10_000,
    RETRAI_MAX_SOCKETS_PER_CLIENT: 5_000,
    RETRAI_SOCKET_STALL_SECONDS: 60,
    RETRAI_ACCESS_LOG: 'on',
  })
})

test('flags win over the environment, and an empty variable counts as not set', () => {
  const env = { RETRAI_PORT: '1', RETRAI_HOST: '', RETRAI_DATA_DIR: '/elsewhere', IRRELEVANT: 'x' }
  const settings = read({ port: '0', dataDir: join('a', 'b') }, env)._unsafeUnwrap()
  expect(settings).toMatchObject({
    RETRAI_PORT: 0,
    RETRAI_HOST: '127.0.0.1',
    RETRAI_DATA_DIR: resolve('a', 'b'),
  })
})

describe('a setting that is not valid is refused, by its names', () => {
  test.each([
    [{ port: '-1' }, {}, '--port (RETRAI_PORT): must be a port number'],
    [{ port: '65536' }, {}, '--port (RETRAI_PORT): must be at most 65535'],
    [{ dataDir: '' }, {}, '--data-dir (RETRAI_DATA_DIR): must not be empty'],
    [{}, { RETRAI_ACCESS_LOG: 'yes' }, 'RETRAI_ACCESS_LOG: must be one of on, strict, off'],
    [{ logLevel: 'loud' }, {}, '--log-level (RETRAI_LOG_LEVEL): must be one of fatal, error, warn'],
    [{ store: 'http://x' }, {}, '--store (EVENTSTORE_URL): must be a connection string'],
    [{}, { RETRAI_TOKEN: 'short' }, 'RETRAI_TOKEN: must have at least 16 characters'],
    [{}, { RETRAI_LLM_BASE_URL: 'ftp://x' }, 'RETRAI_LLM_BASE_URL: must be an http'],
    [{}, { RETRAI_LLM_BASE_URL: 'http://u:secret@x' }, 'put the key into RETRAI_LLM_API_KEY'],
    [{}, { OPENAI_BASE_URL: 'localhost:8000' }, 'OPENAI_BASE_URL: must be an http'],
    [{}, { OPENAI_BASE_URL: 'http://u:secret@x' }, 'put the key into OPENAI_API_KEY'],
    [{}, { RETRAI_MAX_TOKENS: '1.5' }, 'RETRAI_MAX_TOKENS: must be a whole number'],
    [{}, { RETRAI_MAX_COST_USD: '0' }, 'RETRAI_MAX_COST_USD: must be more than 0'],
    [{}, { RETRAI_MAX_RUNS_AT_WORK: 'many' }, 'RETRAI_MAX_RUNS_AT_WORK: must be a number'],
    [{}, { RETRAI_MAX_RUNS_AT_WORK: '0x10' }, 'RETRAI_MAX_RUNS_AT_WORK: must be a number'],
    [{}, { RETRAI_CHECKPOINT_SECONDS: '-1' }, 'RETRAI_CHECKPOINT_SECONDS: must be a number'],
    [{}, { RETRAI_POOL: 'two words' }, 'RETRAI_POOL: must have 1 to 100 letters, digits'],
    [
      {},
      { RETRAI_ARTIFACTS: 'here' },
      'RETRAI_ARTIFACTS: must be "log", an absolute path, or s3://',
    ],
    [{}, { RETRAI_ARTIFACTS: 's3://b/x' }, 'RETRAI_ARTIFACTS: must name a bucket'],
    [{}, { RETRAI_MAX_SOCKETS: '0' }, 'RETRAI_MAX_SOCKETS: must be at least 1'],
    [{}, { RETRAI_SOCKET_STALL_SECONDS: '9e9' }, 'RETRAI_SOCKET_STALL_SECONDS: must be a number'],
    [
      {},
      { RETRAI_SOCKET_STALL_SECONDS: '2000001' },
      'RETRAI_SOCKET_STALL_SECONDS: must be at most 2000000',
    ],
  ])('%j %j', (flags, env, message) => {
    expect(read(flags, env)._unsafeUnwrapErr()).toContain(message)
  })

  test.each([
    ...['ftp://box', 'a b', 'box:port', 'box:99999', '[zz]', 'http://box?x=1'],
    ...['http://user:secret@box', 'user:secret@box'],
  ])('OLLAMA_HOST %j', (OLLAMA_HOST) => {
    const message = read({}, { OLLAMA_HOST })._unsafeUnwrapErr()
    expect(message).toContain('  OLLAMA_HOST: must be host, host:port, :port, or an http://')
    expect(message).not.toContain('secret')
  })

  test('a value with two mistakes is named once', () => {
    const message = read({ port: ' ' })._unsafeUnwrapErr()
    expect(message.split('\n').slice(1)).toEqual(['  --port (RETRAI_PORT): must be a port number'])
  })

  test('all settings that are not valid are named', () => {
    const message = read({ port: 'x' }, { RETRAI_TOKEN: 'short' })._unsafeUnwrapErr()
    expect(message.split('\n')).toHaveLength(3)
  })
})

test.each([
  ['127.0.0.1', 'http://127.0.0.1:11434'],
  ['box:1234', 'http://box:1234'],
  [':1234', 'http://127.0.0.1:1234'],
  ['0.0.0.0', 'http://127.0.0.1:11434'],
  ['0.0.0.0:1234', 'http://127.0.0.1:1234'],
  ['[::]:1234', 'http://127.0.0.1:1234'],
  ['[::1]:1234', 'http://[::1]:1234'],
  ['http://box:1234/', 'http://box:1234'],
  ['HTTPS://ollama.example.com', 'https://ollama.example.com'],
  ['https://example.com/ollama/', 'https://example.com/ollama'],
])('OLLAMA_HOST %s is the address %s', (OLLAMA_HOST, address) => {
  expect(read({}, { OLLAMA_HOST })._unsafeUnwrap().OLLAMA_HOST).toBe(address)
})

test('the place of the log can be read while another setting is not valid', () => {
  const env = { RETRAI_PORT: 'x', RETRAI_DATA_DIR: '/elsewhere' }
  expect(readStorePlace({}, env)._unsafeUnwrap()).toEqual({ RETRAI_DATA_DIR: '/elsewhere' })
  expect(readStorePlace({ store: 'http://x' }, env)._unsafeUnwrapErr()).toBe(
    'These settings are not valid:\n  --store (EVENTSTORE_URL): must be a connection string that begins with esdb:// or kurrentdb://',
  )
})

test('the names of the local machine are known', () => {
  for (const host of ['localhost', '127.0.0.1', '::1']) expect(isLoopback(host)).toBe(true)
  for (const host of ['0.0.0.0', '::', '192.168.1.7', '']) expect(isLoopback(host)).toBe(false)
})

test('secrets are known by their names, also passwords in addresses', () => {
  const env = {
    RETRAI_TOKEN: 'a-token-of-the-operator',
    OPENAI_API_KEY: 'sk-x',
    EVENTSTORE_URL: 'esdb://admin:ch%40ngeit@host:2113?tls=false',
    OLLAMA_HOST: 'http://127.0.0.1:11434',
  }
  expect(secretsOf(read({}, env)._unsafeUnwrap())).toEqual([
    { name: 'RETRAI_TOKEN', value: 'a-token-of-the-operator' },
    { name: 'OPENAI_API_KEY', value: 'sk-x' },
    { name: 'EVENTSTORE_URL', value: 'ch%40ngeit' },
    { name: 'EVENTSTORE_URL', value: 'ch@ngeit' },
  ])
  expect(secretsOf(read()._unsafeUnwrap())).toEqual([])
})

describe('the default data folder', () => {
  /** Changes to a new working folder, with a folder for data. The process returns to its own after the test. */
  async function inFolder() {
    const base = await realpath(await mkdtemp(join(tmpdir(), 'retrai-config-')))
    const before = process.cwd()
    onTestFinished(async () => {
      process.chdir(before)
      await rm(base, { recursive: true })
    })
    const folder = join(base, 'my project')
    await mkdir(folder)
    process.chdir(folder)
    const env = { XDG_DATA_HOME: join(base, 'data') }
    const dataDir = () => read({}, env)._unsafeUnwrap().RETRAI_DATA_DIR
    return { base, folder, dataDir }
  }

  test('is below XDG_DATA_HOME, one for each working folder, and always the same', async () => {
    const { base, folder, dataDir } = await inFolder()
    const first = dataDir()
    expect(first).toMatch(new RegExp(`^${base}/data/retrai/my-project-[0-9a-f]{8}$`))
    expect(dataDir()).toBe(first)
    await mkdir(join(base, 'other/my project'), { recursive: true })
    process.chdir(join(base, 'other/my project'))
    expect(dataDir()).not.toBe(first)
    process.chdir(folder)
    expect(dataDir()).toBe(first)
  })

  test('is the .retrai of an earlier version, until there is a folder at the new place', async () => {
    const { folder, dataDir } = await inFolder()
    const fresh = dataDir()
    await mkdir('.retrai')
    expect(dataDir()).toBe(fresh)
    await writeFile('.retrai/server-id', 'x')
    expect(dataDir()).toBe(join(folder, '.retrai'))
    // From now on, a run could have made the .retrai.
    await mkdir(fresh, { recursive: true })
    expect(dataDir()).toBe(fresh)
  })
})
