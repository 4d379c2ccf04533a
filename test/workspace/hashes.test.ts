import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { temporaryFolder } from '../runner/support.ts'
import { workspaceOf } from './support.ts'

const run = promisify(execFile)
const LIMITS = { maxFiles: 1_000, maxBytes: 10_000_000, withinMs: 60_000 }

/** A project with a folder `deps`. */
async function place() {
  const cwd = await temporaryFolder()
  const files = workspaceOf(cwd)
  onTestFinished(() => run('chmod', ['-R', 'u+rwX', cwd]).then(() => {}))
  const bash = (script: string) => run('bash', ['-c', script], { cwd })
  await bash(`mkdir -p deps/.git deps/empty $'deps/\\xff' other; echo 1 >deps/a; echo 2 >$'deps/\\xff/\\xfe\\n'
    echo '#!' >deps/run; chmod +x deps/run; ln -s a deps/link; ln -s /etc deps/out; echo i >deps/.git/index; ln -s other led; echo 3 >other/b`)
  const hashes = async (paths: readonly string[], limits: Partial<typeof LIMITS> = {}) =>
    (await files.ask('hashes', { paths, ...LIMITS, ...limits }))._unsafeUnwrap().hashes
  return { bash, files, hashes, hash: async () => (await hashes(['deps']))[0] }
}

const CHANGES = [
  ['a byte', 'printf 9 | dd of=deps/a conv=notrunc 2>&1; touch -r deps/run deps/a'],
  ['the length of a file', 'echo >>deps/a'],
  ['a name', 'mv deps/a deps/b; cp deps/b deps/a'],
  ['bytes of a name that are not UTF-8', `mv $'deps/\\xff' $'deps/\\xfe'`],
  ['whether a file can be executed', 'chmod +x deps/a'],
  ['where a link leads', 'ln -sfn b deps/link'],
  ['a link in the place of a file with the same content', 'cp deps/a x; ln -sf ../x deps/a'],
  ['a new file in a hidden folder', 'echo 1 >deps/.git/config'],
  ['a new empty folder', 'mkdir deps/new'],
  ['a removed folder', 'rmdir deps/empty'],
  ['a folder in the place of a file', 'rm deps/a; mkdir deps/a'],
  ['the same bytes at another place', `mv deps/run deps/x; mv deps/a deps/run; mv deps/x deps/a`],
] as const

test('every change of what is in a folder changes its hash', async () => {
  const { bash, hash } = await place()
  const seen = new Set([await hash()])
  for (const [what, script] of CHANGES) {
    await bash(script)
    const now = await hash()
    expect(now, what).toMatch(/^[\da-f]{64}$/)
    expect(seen, what).not.toContain(now)
    seen.add(now)
  }
})

test('times, copies, pipes, what a link leads to, and the index that git writes when it looks do not change it', async () => {
  const { bash, hash } = await place()
  const before = await hash()
  await bash(`cp -a deps x; rm -r deps; mv x deps; touch deps/a; echo j >deps/.git/index; mkfifo deps/pipe
    chmod 600 deps/a`)
  expect(await hash()).toBe(before)
})

test('what is missing, too large, outside, reached through a link, or takes too long has no hash, and all others have', async () => {
  const { bash, hashes } = await place()
  await bash('truncate -s 20M large; mkdir many; touch many/{1..2000}; cp -a deps again')
  const paths = [
    'deps',
    'none',
    'large',
    'many',
    'led/b',
    '../x',
    '',
    'other/b',
    'led',
    'deps/\ufffd',
  ]
  const found = await hashes(paths)
  const has = paths.filter((_, at) => found[at] !== null)
  expect(has).toEqual(['deps', 'other/b', 'led'])
  expect(await hashes(['deps'], { withinMs: -1 })).toEqual([null])
})

test('what tools keep in folders of packages to be faster is named, and does not change a hash', async () => {
  const { bash, files } = await place()
  await bash('mkdir -p node_modules/a .venv/lib/b; echo 1 >node_modules/a/index.js')
  const paths = ['node_modules', '.venv', 'deps']
  const hashes = async () => (await files.ask('hashes', { paths, ...LIMITS }))._unsafeUnwrap()
  const before = await hashes()
  expect(before.caches).toEqual([])
  const caches = ['node_modules/.cache', 'node_modules/.vitest-cache', '.venv/lib/b/__pycache__']
  await bash(
    `mkdir -p ${caches.join(' ')}; touch .venv/lib/b/__pycache__/b.pyc; ln -s .. node_modules/.vite`,
  )
  const found = await hashes()
  expect(found.hashes).toEqual(before.hashes)
  expect(found.caches.toSorted()).toEqual([...caches, 'node_modules/.vite'].toSorted())
  await bash(
    'mkdir -p node_modules/.bin deps/.cache deps/__pycache__; touch node_modules/.bin/vitest',
  )
  const [packages, python, other] = (await hashes()).hashes
  expect([packages === found.hashes[0], other === found.hashes[2]]).toEqual([false, false])
  expect(python).toBe(found.hashes[1])
})

test.runIf(process.getuid?.() !== 0)('what cannot be read has no hash', async () => {
  const { bash, hash } = await place()
  await bash('chmod 000 deps/a')
  expect(await hash()).toBeNull()
})
