import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openKeyring } from '../../src/checkpoints/keyring.ts'
import { cleanEnv, refused, retrai, retraiProcess } from './support.ts'

const RUN = '6ba7b810-9dad-41d1-80b4-00c04fd430c8'

test.each([
  [['rnus'], 'unknown command', '"retrai --help"'],
  [['help', 'rnus'], 'unknown command', '"retrai --help"'],
  [['show'], "missing required argument 'run'", '"retrai show --help"'],
  [['token', 'create', 'ada'], "option '--role", '"retrai token create --help"'],
  [['token', 'create', 'ada', '--role', 'root'], 'viewer, operator, auditor, admin'],
  [['token', 'create', 'Ada', '--role', 'admin'], 'must be of a-z'],
  [['token', 'create', 'ada', '--role', 'admin', '--expires-in', 'soon'], '30d'],
  [['key', 'list', '--what'], "unknown option '--what'", '"retrai key list --help"'],
  [['run', 'pytest', '--hitl'], '"--set FIELD=VALUE" gives any field', '"retrai run --help"'],
  [['export', RUN, '--data-dir', 'd'], 'Start a server on that', '"retrai export --help"'],
  [['token', 'create', 'ada', '--data-dir', 'd'], 'Start a server, with RETRAI_TOKEN'],
  [['watch'], "argument 'run'. Name a run", '"retrai watch --help"'],
  [['run', 'pytest', '--also', 'a'], "option '--also'. Repeat --check."],
  [['copy'], "required option '--from", '"retrai copy --help"'],
  [['backup'], "missing required argument 'file'", '"retrai backup --help"'],
])('%j ends with 3, and says what is wrong and where the help is', async (args, ...parts) => {
  const said = await refused(args, /^retrai: /)
  for (const part of parts) expect(said).toContain(part)
})

test.each([[], ['serve'], ['verify']])(
  'the help of %j is not wider than a terminal',
  async (...args) => {
    const { code, stdout } = await retrai([...args.flat(), '--help'])
    expect(code).toBe(0)
    expect(stdout.split('\n').filter(({ length }) => length > 80)).toEqual([])
  },
)

test('a change of nothing and a file that does not exist are named', async () => {
  const nowhere = ['--server', 'http://127.0.0.1:9']
  await refused(['configure', RUN, ...nowhere], '--set max_iterations=40')
  const why = 'retrai: /no/such/export.tar.gz cannot be read: ENOENT'
  await refused(['verify', '/no/such/export.tar.gz'], why)
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
