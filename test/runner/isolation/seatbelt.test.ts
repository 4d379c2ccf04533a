import { chmod, chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { chooseIsolation } from '../../../src/runner/isolation/isolation.ts'
import type { Sandbox } from '../../../src/runner/isolation/sandbox.ts'
import { profileOf, rulesOf } from '../../../src/runner/isolation/seatbelt.ts'
import { commandRunner, DEFAULT_LIMITS } from '../../../src/runner/run-command.ts'
import { Runner } from '../../../src/runner/runner.ts'
import { temporaryFolder } from '../support.ts'

type Expression = string | Expression[]

/** Reads a profile as its language says: lists, words, and strings with escapes. Throws if parentheses do not balance. */
function parse(text: string): Expression[] {
  const tokens = text.match(/[()]|"(?:[^"\\]|\\.)*"|[^\s()"]+/gs) ?? []
  const lists: Expression[][] = [[]]
  for (const token of tokens) {
    if (token === '(') lists.push([])
    else if (token === ')') {
      const list = lists.pop()
      const above = lists.at(-1)
      if (list === undefined || above === undefined) throw new Error('one too many )')
      above.push(list)
    } else lists.at(-1)?.push(token)
  }
  if (lists.length !== 1) throw new Error('one too many (')
  return lists[0] ?? []
}

const sandbox = (paths: Partial<Sandbox> = {}): Sandbox => ({
  ...{ level: 'seatbelt', launcher: '/usr/bin/sandbox-exec', setpriv: null, filter: '' },
  ...{ project: '/p', own: { home: '/data/run/home', tmp: '/data/run/tmp', kept: true } },
  ...{ checkHome: null, layers: false, scratch: null, writable: [], readable: [], tools: [] },
  ...{ network: 'none', proxy: null, hasNetwork: false, socat: null, nsenter: null },
  ...{ networkTools: null, ownUser: null, enter: [], folder: '/data', userHome: '/home/u' },
  ...{ hidden: ['/data'], ...paths },
})

/** Whether a profile allows an operation on a path: the last rule that fits decides. */
function allows(args: readonly string[], operation: string, path: string): boolean {
  const values = new Map(
    args.flatMap((arg, index) => {
      if (args[index - 1] !== '-D') return []
      return [[arg.slice(0, arg.indexOf('=')), arg.slice(arg.indexOf('=') + 1)] as const]
    }),
  )
  let isAllowed = false
  for (const rule of parse(args[1] ?? '')) {
    if (!Array.isArray(rule)) continue
    const [verb, ...rest] = rule
    const operations = rest.filter((one) => typeof one === 'string')
    const filters = rest.filter((one) => Array.isArray(one))
    const names = operations.map((name) => name.replace('*', ''))
    if (!names.some((name) => name === 'default' || operation.startsWith(name))) continue
    const fits = filters.some(([kind, text]) => {
      const name = Array.isArray(text) ? String(text[1]) : String(text)
      const bare = name.slice(1, -1)
      const at = Array.isArray(text) ? values.get(bare) : bare
      return path === at || (kind === 'subpath' && path.startsWith(`${at}/`))
    })
    if (filters.length === 0 || fits) isAllowed = verb === 'allow'
  }
  return isAllowed
}

const NAME = fc
  .oneof(
    fc.string({ unit: 'binary', minLength: 1 }),
    fc.constantFrom('a"b', '(b)', '\\', '\n) (allow default', "'", 'é', '=x'),
  )
  .map((name) => name.replaceAll(/[/\0]/g, '_'))
  .filter((name) => name !== '.' && name !== '..')
const PATH = fc.array(NAME, { minLength: 1, maxLength: 3 }).map((names) => `/x/${names.join('/')}`)

test('no name of a folder can change a profile: paths are parameters, and each is passed as it is', () => {
  const of = (project: string, tool: string) =>
    profileOf(
      rulesOf(sandbox({ project, tools: [tool], hidden: ['/data', tool] }), {
        ...{ real: project, repository: null, guarded: ['.git/config', '.git/hooks'] },
      }),
    )
  fc.assert(
    fc.property(PATH, PATH, (project, tool) => {
      const args = of(project, tool)
      const text = args[1] ?? ''
      const passed = args.filter((_, index) => args[index - 1] === '-D')
      const named = [...text.matchAll(/\(param "(PATH_\d+)"\)/g)].map(([, name]) => name)
      expect(passed.map((one) => one.slice(0, one.indexOf('=')))).toEqual(named)
      expect(passed.map((one) => one.slice(one.indexOf('=') + 1))).toEqual(
        expect.arrayContaining([project, tool, `${project}/.git/config`]),
      )
      expect(parse(text).every((rule) => Array.isArray(rule))).toBe(true)
      expect(text).not.toMatch(/allow default|[^\x20-\x7e\n]/)
    }),
  )
})

test('a profile lets a command change its project and its home, but nothing that is guarded or belongs to the server', () => {
  const paths = {
    tools: ['/data-tools'],
    scratch: '/data/checks/one',
    readable: ['/data/view'],
  }
  const rules = rulesOf(sandbox(paths), {
    ...{
      real: '/p',
      repository: { root: '/above', paths: ['/above/.git'] },
      guarded: ['.git/hooks', '.git/config'],
    },
  })
  const args = profileOf(rules)
  const can = (operation: string, path: string): boolean => allows(args, operation, path)
  for (const path of ['/p/a/b', '/data/run/home/x', '/data/run/tmp/x', '/data/checks/one/folder']) {
    expect([path, can('file-read-data', path), can('file-write-data', path)]).toEqual([
      path,
      true,
      true,
    ])
  }
  for (const path of ['/data/log.db', '/data/run/other', '/data']) {
    expect([path, can('file-read-data', path), can('file-write-data', path)]).toEqual([
      path,
      false,
      false,
    ])
  }
  for (const path of ['/data/view/file', '/above/.git/HEAD', '/usr/bin/env']) {
    expect([path, can('file-read-data', path), can('file-write-data', path)]).toEqual([
      path,
      true,
      false,
    ])
  }
  for (const path of ['/p/.git/hooks/pre-commit', '/p/.git/config']) {
    expect([can('file-read-data', path), can('file-write-create', path)]).toEqual([true, false])
  }
  // Neither the folders above a guarded file nor the paths in rules can be moved or replaced.
  for (const path of ['/p', '/p/.git', '/p/.git/hooks', '/data/run/home', '/data/checks/one']) {
    expect([path, can('file-write-unlink', path)]).toEqual([path, false])
  }
  expect(can('file-write-create', '/p/.git/index.lock')).toBe(true)
  expect(can('file-link', '/p/file')).toBe(false)
  expect(can('network-outbound', '/p/socket')).toBe(false)
  expect(can('file-write-setugid', '/p/file')).toBe(false)
})

/** A `sandbox-exec` for tests, which ignores the profile and writes down its arguments. */
async function machine(script: string) {
  const base = await temporaryFolder()
  const [bin, dataDir, project] = ['bin', 'data', 'project'].map((name) => join(base, name)) as [
    string,
    string,
    string,
  ]
  for (const folder of [bin, dataDir, project]) await mkdir(folder)
  await chmod(base, 0o755)
  await writeFile(join(bin, 'sandbox-exec'), `#!/bin/bash\n${script}\n`, { mode: 0o755 })
  const runner = new Runner({ info: () => {}, error: () => {} })
  onTestFinished(() => runner.close())
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
  const isolation = await chooseIsolation('auto', {
    runner,
    dataDir,
    env,
    toolPaths: [],
    platform: 'darwin',
  })
  if (isolation.scratchDir !== null) {
    const folder = dirname(isolation.scratchDir)
    onTestFinished(() => rm(folder, { recursive: true }))
  }
  return { base, project, runner, isolation }
}

const COMMAND = 'while [ "$1" != -- ]; do shift; done; shift'

test('a sandbox-exec that restricts nothing fails its trial, and commands are refused', async () => {
  const { isolation } = await machine(`${COMMAND}; exec "$@"`)
  expect(isolation.level).toBeNull()
  expect(isolation.detail).toMatch(
    /seatbelt: a trial found .*"writes \.git\/config".*Run the server on Linux/,
  )
  expect(isolation.detail).toMatch(/"connects"/)
})

test('at a level that passes its trial, commands get the profile, their limits and a record that says "not verified"', async () => {
  // Only the trial runs as if the profile were applied.
  const { base, project, runner, isolation } = await machine(
    `args=("$@"); ${COMMAND}
if [ "\${4-}" = probe ]; then id -u | sed 's/^/Uid: /'; echo 'writes the project'; exit; fi
printf '%s\\0' "\${args[@]}" >"$PWD/arguments"; exec "$@"`,
  )
  expect(isolation).toMatchObject({ level: 'seatbelt', network: 'none' })
  expect(isolation.detail).toContain('NOT VERIFIED')
  expect((await isolation.atLeast('landlock'))._unsafeUnwrapErr()).toContain('no such level')
  await mkdir(join(project, '.git'))
  await writeFile(join(project, '.git/config'), '')
  if (process.getuid?.() === 0) await chown(project, 1500, 1500)
  const run = commandRunner({ ...DEFAULT_LIMITS, homeBytes: 1024 }, runner, isolation)
  const { signal } = new AbortController()
  const bash = (script: string, timeoutMs = 60_000) =>
    run({ file: 'bash', args: ['-c', script], cwd: project, timeoutMs, signal, run: 'run' })
  const result = await bash('echo "$HOME"; id -u')
  expect(result).toMatchObject({ end: 'exited', exitCode: 0 })
  expect(result.policy).toMatchObject({
    ...{ level: 'seatbelt', network: 'none', protected: ['.git/config'] },
    visible: expect.arrayContaining(['system', 'not verified']),
    writable: ['project', 'home', 'tmp'],
    limits: { home_bytes: 1024 },
  })
  expect(isolation.factsFor(project, 'none').policy_sha256).toBe(result.policy?.policy_sha256)
  const args = (await readFile(join(project, 'arguments'), 'utf8')).split('\0')
  expect(args.slice(0, 2)).toEqual(['-p', expect.stringContaining('(deny network*)')])
  expect(args.filter((arg) => arg.endsWith(`=${project}/.git/config`))).not.toEqual([])
  expect(args).toContain('--')
  expect(allows(args, 'file-read-data', join(base, 'data/log.db'))).toBe(false)
  expect(allows(args, 'file-write-data', `${result.stdout.split('\n')[0]}/file`)).toBe(true)
  expect(await bash('echo begun; sleep 1000', 500)).toMatchObject({
    end: 'timed_out',
    stdout: 'begun\n',
  })
  const filled = await bash('head -c 100000 /dev/zero >~/large; sleep 1000')
  expect(filled).toMatchObject({ end: 'disk_full' })
})

test('on Linux the level is refused, and the message says where it exists', async () => {
  const runner = new Runner({ info: () => {}, error: () => {} })
  onTestFinished(() => runner.close())
  const isolation = await chooseIsolation('seatbelt', {
    ...{
      runner,
      dataDir: await temporaryFolder(),
      env: process.env,
      toolPaths: [],
      platform: 'linux',
    },
  })
  expect(isolation.level).toBeNull()
  expect(isolation.detail).toMatch(/seatbelt: it exists only on macOS.*RETRAI_ISOLATION=auto/)
})
