import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openKeyring } from '../../src/checkpoints/keyring.ts'
import { cleanEnv, retrai, retraiProcess } from './support.ts'

const RUN = '6ba7b810-9dad-41d1-80b4-00c04fd430c8'

test.each([
  [['rnus'], 3, 'unknown command', '"retrai --help"'],
  [['help', 'rnus'], 3, 'unknown command', '"retrai --help"'],
  [['show'], 3, "missing required argument 'run'", '"retrai show --help"'],
  [['token', 'create', 'ada'], 3, "option '--role", '"retrai token create --help"'],
  [['token', 'create', 'ada', '--role', 'root'], 3, 'viewer, operator, auditor, admin'],
  [['token', 'create', 'Ada', '--role', 'admin'], 3, 'must be of a-z'],
  [['token', 'create', 'ada', '--role', 'admin', '--expires-in', 'soon'], 3, '30d'],
  [['key', 'list', '--what'], 3, "unknown option '--what'", '"retrai key list --help"'],
  [['run', 'pytest', '--hitl'], 3, '"--set FIELD=VALUE" gives any field', '"retrai run --help"'],
  [['export', RUN, '--data-dir', 'd'], 3, 'Start a server on that', '"retrai export --help"'],
  [
    ['token', 'create', 'ada', '--role', 'admin', '--data-dir', 'd'],
    3,
    'Start a server, with RETRAI_TOKEN',
  ],
  [['watch'], 3, "argument 'run'. Name a run", '"retrai watch --help"'],
  [['run', 'pytest', '--also', 'a'], 3, "option '--also'. Repeat --check."],
  [['copy'], 3, "required option '--from", '"retrai copy --help"'],
  [['backup'], 3, "missing required argument 'file'", '"retrai backup --help"'],
])(
  '%j ends with %i, and says what is wrong and where the help is',
  async (args, code, ...parts) => {
    const done = await retrai(args)
    expect([done.code, done.stdout]).toEqual([code, ''])
    expect(done.stderr).toMatch(/^retrai: /)
    for (const part of parts) expect(done.stderr).toContain(part)
  },
)

test.each([[], ['serve'], ['verify']])(
  'the help of %j is not wider than a terminal',
  async (...args) => {
    const { code, stdout } = await retrai([...args.flat(), '--help'])
    expect(code).toBe(0)
    expect(stdout.split('\n').filter(({ length }) => length > 80)).toEqual([])
  },
)

test('a change of nothing and a file that does not exist are named', async () => {
  const nothing = await retrai(['configure', RUN, '--server', 'http://127.0.0.1:9'])
  expect([nothing.code, nothing.stderr]).toEqual([
    3,
    expect.stringContaining('--set max_iterations=40'),
  ])
  const missing = await retrai(['verify', '/no/such/export.tar.gz'])
  expect([missing.code, missing.stderr]).toEqual([
    3,
    expect.stringMatching(/^retrai: \/no\/such\/export\.tar\.gz cannot be read: ENOENT/),
  ])
})

test.skipIf(!existsSync('/dev/full'))(
  'output that cannot be written is reported in one line',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'retrai-usage-'))
    ;(await openKeyring(join(dir, 'keys'), () => new Date()))._unsafeUnwrap()
    const full = ['bash', '-c', 'exec "$@" > /dev/full', 'bash']
    const done = await retraiProcess(['key', 'list', '--data-dir', dir], cleanEnv(), full)
    await rm(dir, { recursive: true })
    expect(done.code).toBe(3)
    expect(done.stderr).toMatch(/^retrai: The output cannot be written: ENOSPC.*\n$/)
  },
)
