import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readSettings, readStorePlace } from '../../src/server/read-settings.ts'
import { isLocal, secretsOf } from '../../src/server/settings.ts'

const read = (flags = {}, env = {}) => readSettings(flags, env)

test('every setting has its default', () => {
  expect(read()._unsafeUnwrap()).toEqual({
    RETRAI_LISTEN: { host: '127.0.0.1', port: 8000 },
    RETRAI_DATA_DIR: expect.stringMatching(/\.local\/share\/retrai\/[\w.-]+-[0-9a-f]{8}$/),
    RETRAI_LOG_LEVEL: 'info',
    RETRAI_MAX_RUNS_AT_WORK: 16,
    RETRAI_SUBAGENT_DEPTH: 2,
    RETRAI_WEBHOOK_HOSTS: [],
    RETRAI_ISOLATION: 'auto',
    RETRAI_NETWORK: 'hosts',
    RETRAI_MCP_REQUESTS: 'commands',
    RETRAI_CHECKPOINT_SECONDS: 60,
    RETRAI_LEASE_SECONDS: 15,
    RETRAI_ACCESS_LOG: 'on',
  })
})

test('flags win over the environment, and an empty variable counts as not set', () => {
  const env = {
    RETRAI_LISTEN: 'box:1',
    RETRAI_POOL: '',
    RETRAI_DATA_DIR: '/elsewhere',
    IRRELEVANT: 'x',
  }
  const settings = read({ port: '0', dataDir: join('a', 'b') }, env)._unsafeUnwrap()
  expect(settings).toMatchObject({
    RETRAI_LISTEN: { host: 'box', port: 0 },
    RETRAI_DATA_DIR: resolve('a', 'b'),
  })
})

describe('a setting that is not valid is refused, by its names', () => {
  test.each([
    [{ port: '-1' }, {}, '--host or --port (RETRAI_LISTEN): must be HOST:PORT, such as'],
    [{}, { RETRAI_LISTEN: '::1:80' }, 'RETRAI_LISTEN): must be HOST:PORT'],
    [{ dataDir: '' }, {}, '--data-dir (RETRAI_DATA_DIR): must not be empty'],
    [
      {},
      { RETRAI_ISOLATION: 'uid' },
      'RETRAI_ISOLATION: must be one of auto, namespaces, landlock, none',
    ],
    [{ store: 'http://x' }, {}, '--store (EVENTSTORE_URL): must be a connection string'],
    [{}, { RETRAI_TOKEN: 'short' }, 'RETRAI_TOKEN: must have at least 16 characters'],
    [{}, { RETRAI_LLM_BASE_URL: 'ftp://x' }, 'RETRAI_LLM_BASE_URL: must be an http'],
    [{}, { RETRAI_LLM_BASE_URL: 'http://u:secret@x' }, 'put the key into RETRAI_LLM_API_KEY'],
    [{}, { RETRAI_MAX_TOKENS: '1.5' }, 'RETRAI_MAX_TOKENS: must be a whole number'],
    [{}, { RETRAI_MAX_COST_USD: '0' }, 'RETRAI_MAX_COST_USD: must be more than 0'],
    [{}, { RETRAI_MAX_RUNS_AT_WORK: '0x10' }, 'RETRAI_MAX_RUNS_AT_WORK: must be a number'],
    [{}, { RETRAI_CHECKPOINT_SECONDS: '-1' }, 'RETRAI_CHECKPOINT_SECONDS: must be a number'],
    [
      {},
      { RETRAI_APPROVALS: '[{"tool":"x","action":"perhaps"}]' },
      'RETRAI_APPROVALS: is not a list of rules',
    ],
    [{}, { RETRAI_POOL: 'two words' }, 'RETRAI_POOL: must have 1 to 100 letters, digits'],
    [
      {},
      { RETRAI_ARTIFACTS: 'here' },
      'RETRAI_ARTIFACTS: must be "log", an absolute path, or s3://',
    ],
    [{}, { RETRAI_ARTIFACTS: 's3://b/x' }, 'RETRAI_ARTIFACTS: must name a bucket'],
  ])('%j %j', (flags, env, message) => {
    expect(read(flags, env)._unsafeUnwrapErr()).toContain(message)
  })

  test.each([
    'ftp://box',
    'a b',
    'box:port',
    'box:99999',
    '[zz]',
    'http://box?x=1',
    'http://user:secret@box',
    'user:secret@box',
  ])('OLLAMA_HOST %j', (OLLAMA_HOST) => {
    const message = read({}, { OLLAMA_HOST })._unsafeUnwrapErr()
    expect(message).toContain('  OLLAMA_HOST: must be host, host:port, :port, or an http://')
    expect(message).not.toContain('secret')
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
  const env = { RETRAI_TOKEN: 'x', RETRAI_DATA_DIR: '/elsewhere' }
  expect(readStorePlace({}, env)._unsafeUnwrap()).toEqual({ RETRAI_DATA_DIR: '/elsewhere' })
  expect(readStorePlace({ store: 'http://x' }, env)._unsafeUnwrapErr()).toBe(
    'These settings are not valid:\n  --store (EVENTSTORE_URL): must be a connection string that begins with esdb:// or kurrentdb://',
  )
})

test('the addresses of the local machine are known', () => {
  const local = (host: string): boolean => isLocal({ host, port: 1 })
  for (const host of ['localhost', '127.0.0.1', '::1']) expect(local(host)).toBe(true)
  for (const host of ['0.0.0.0', '::', '192.168.1.7', '']) expect(local(host)).toBe(false)
  expect(isLocal({ socket: '/run/retrai.sock' })).toBe(true)
})

test.each([
  [{}, { RETRAI_LISTEN: '0.0.0.0:80' }, { host: '0.0.0.0', port: 80 }],
  [{}, { RETRAI_LISTEN: '[::1]:80' }, { host: '::1', port: 80 }],
  [{}, { RETRAI_LISTEN: 'unix:/run/x.sock' }, { socket: '/run/x.sock' }],
  [{ host: '::' }, {}, { host: '::', port: 8000 }],
  [{ port: '9' }, { RETRAI_LISTEN: '[::1]:80' }, { host: '::1', port: 9 }],
  [{ host: 'box' }, { RETRAI_LISTEN: 'unix:/run/x.sock' }, { host: 'box', port: 8000 }],
])('%j and %j: the server listens at %j', (flags, env, address) => {
  expect(read(flags, env)._unsafeUnwrap().RETRAI_LISTEN).toEqual(address)
})

test('a setting of an earlier version is refused, with what to write', () => {
  const message = read({}, { RETRAI_PORT: '80', RETRAI_MAX_SOCKETS: '5' })._unsafeUnwrapErr()
  expect(message.split('\n')).toEqual([
    'RETRAI_PORT is not a setting any more: write RETRAI_LISTEN=HOST:PORT, or use --port.',
    'RETRAI_MAX_SOCKETS is not a setting any more: the limit is 10000 open WebSockets. Remove it.',
  ])
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
