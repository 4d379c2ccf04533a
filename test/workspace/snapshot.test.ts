import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import type { LeftOut } from '../../src/domain/snapshots.ts'
import {
  decodeTree,
  EMPTY_TREE,
  type GitObject,
  pathBytes,
  shownPath,
  type TreeEntry,
} from '../../src/lib/git-objects.ts'
import { readPack } from '../../src/lib/git-pack.ts'
import { sha256 } from '../../src/lib/sha256.ts'
import { isSettled } from '../../src/workspace/program/snapshot-files.ts'
import type { Questions } from '../../src/workspace/protocol.ts'
import { Workspace } from '../../src/workspace/workspace.ts'
import { startProcess, temporaryFolder } from '../runner/support.ts'
import { COMPILE_CACHE } from '../support/build.ts'
import { isMissing } from '../support/missing.ts'

const ASKED = { maxFileBytes: 1000, maxBytes: 256_000_000, salt: '5a'.repeat(16) }
/** For the program, every file is an hour old, so it relies on what it knows of all that looks unchanged. */
const LATER = 'const { now } = Date; Date.now = () => now() + 3_600_000'

const bash = (cwd: string, script: string) =>
  execFileSync('bash', ['-ec', script], { cwd, encoding: 'utf8' }).trim()

/** A project, and the snapshots of one program with all objects of its packs so far. */
async function place(cwd?: string, { isLater = true, env: own = {} } = {}) {
  const base = await temporaryFolder()
  const project = cwd ?? join(base, 'project')
  mkdirSync(project, { recursive: true })
  const env = {
    ...own,
    NODE_COMPILE_CACHE: COMPILE_CACHE,
    ...(isLater && { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(LATER)}` }),
  }
  const files = new Workspace({ cwd: project }, (program) =>
    startProcess({ ...program, env: { ...program.env, ...env } }),
  )
  onTestFinished(() => files[Symbol.asyncDispose]())
  const objects = new Map<string, GitObject>()
  const ask = async (asked: Partial<Questions['snapshot']> = {}) => {
    const answer = (await files.ask('snapshot', { ...ASKED, ...asked }))._unsafeUnwrap()
    const list: readonly LeftOut[] = answer.left_out ?? JSON.parse(answer.body.toString())
    return { ...answer, isNamed: answer.left_out !== null, left_out: list }
  }
  const fetched = async (number: number) =>
    (await files.ask('pack', { number }))._unsafeUnwrap().body
  const snapshot = async (asked: Partial<Questions['snapshot']> = {}) => {
    const { body, ...answer } = await ask(asked)
    const packs: Buffer[] = []
    for (let at = 0; at < answer.packs; at += 1) packs.push(await fetched(at))
    const fresh = packs.flatMap((pack) => readPack(pack)._unsafeUnwrap())
    for (const object of fresh) objects.set(object.id, object)
    return { ...answer, body, fresh, hashes: packs.map((pack) => sha256(pack)) }
  }
  const entriesOf = (tree: string): TreeEntry[] =>
    decodeTree(objects.get(tree)?.content ?? Buffer.from('missing')) ?? []
  const flat = (tree: string, above = ''): Record<string, string> =>
    Object.assign(
      {},
      ...entriesOf(tree).map(({ mode, name, id }) => {
        if (mode === '40000') return flat(id, `${above}${name}/`)
        return { [above + name]: `${mode} ${objects.get(id)?.content.toString('latin1')}` }
      }),
    )
  const sh = (script: string) => bash(project, script)
  return { base, project, sh, files, objects, ask, fetched, snapshot, flat }
}

/** Waits until what changes next has another time. */
function tick(folder: string): void {
  const probe = join(folder, '.probe')
  const time = (): bigint => {
    writeFileSync(probe, '')
    return statSync(probe, { bigint: true }).ctimeNs
  }
  const first = time()
  while (time() === first);
  rmSync(probe)
}

/** The tree that git makes of a project, in a repository elsewhere. */
function treeOfGit(project: string, folder: string): string {
  const env = {
    ...process.env,
    GIT_DIR: folder,
    GIT_WORK_TREE: project,
    GIT_CONFIG_GLOBAL: '/dev/null',
  }
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'core.fileMode=true', ...args], {
      cwd: project,
      env,
      encoding: 'utf8',
    })
  if (!existsSync(folder)) git('init', '-q', '--object-format=sha256')
  git('add', '--all', '--force', '.')
  return git('write-tree').trim()
}

const NAMES = ['a', 'a-b', 'a.b', 'B', 'ä', 'sub', '-x', 'line\nbreak', ' ', '.hidden']
const name = fc.constantFrom(...NAMES)
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const edit = fc.record({
  kind: fc.constantFrom('write', 'write', 'same', 'remove', 'mode', 'link', 'move', 'folder'),
  path,
  to: path,
  text: fc.string({ maxLength: 5 }),
})

/** What cannot be done is not done: a file in a file, for example. */
function apply(project: string, one: typeof edit extends fc.Arbitrary<infer T> ? T : never): void {
  const [at, to] = [join(project, one.path), join(project, one.to)]
  try {
    if (one.kind === 'remove') rmSync(at, { recursive: true })
    if (one.kind === 'mode') chmodSync(at, lstatSync(at).isDirectory() ? 0o755 : 0o700)
    if (one.kind === 'move') renameSync(at, to)
    if (one.kind === 'folder') rmSync(at, { force: true, recursive: true })
    if (one.kind === 'folder' || one.kind === 'write' || one.kind === 'link')
      mkdirSync(join(at, '..'), { recursive: true })
    if (one.kind === 'folder') mkdirSync(at, { recursive: true })
    if (one.kind === 'write') writeFileSync(at, one.text)
    if (one.kind === 'link') symlinkSync(one.to, at)
    if (one.kind === 'same') {
      const { atime, mtime, size } = statSync(at)
      writeFileSync(at, 'z'.repeat(size))
      utimesSync(at, atime, mtime)
    }
  } catch {}
}

test.skipIf(isMissing('git'))(
  'the tree after any edits is the one that git makes, and the packs hold all of it',
  async () => {
    const { base, project, snapshot, objects, flat } = await place()
    const big = Buffer.from(Array.from({ length: 600_000 }, (_, at) => at % 251))
    for (const size of [262_144, 262_145, 600_000])
      writeFileSync(join(project, `${size}`), big.subarray(0, size))
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 12 }), async (edits) => {
        tick(base)
        for (const one of edits) apply(project, one)
        const { tree, files, packs } = await snapshot({ maxFileBytes: 1_000_000 })
        expect(tree).toBe(treeOfGit(project, join(base, 'git')))
        const all = Object.values(flat(tree))
        expect(all.length).toBe(files)
        expect(all.join()).not.toContain('undefined')
        expect(objects.has(tree)).toBe(true)
        expect((await snapshot({ maxFileBytes: 1_000_000 })).packs).toBe(0)
        expect(packs).toBeLessThan(10)
      }),
      { numRuns: 40 },
    )
  },
  60_000,
)

const RULES = ['a', '/a', 'a/', '!a', '*.b', '!a.b', 'sub/*', '!sub/a', '**/B', '*', '!*/', 'ä', '']
const ruleEdit = fc.record({
  folder: fc.constantFrom('', 'a', 'sub', 'a/sub', 'B/a'),
  lines: fc.array(fc.constantFrom(...RULES), { maxLength: 3 }),
})

test('after any edits of rules, what is ignored is what a search leaves out', async () => {
  const { base, project, files, snapshot, flat } = await place()
  await fc.assert(
    fc.asyncProperty(fc.array(edit), fc.array(ruleEdit), async (edits, rules) => {
      tick(base)
      for (const one of edits) if (!/\n/.test(one.path + one.to)) apply(project, one)
      for (const { folder, lines } of rules) {
        const file = { path: join(folder, '.gitignore'), to: '', text: lines.join('\n') }
        for (const kind of ['remove', 'write'] as const) apply(project, { ...file, kind })
      }
      const { tree } = await snapshot()
      const all = { path: '.', glob: '**/*', limit: 10_000, hidden: true, ignored: false }
      const found = (await files.ask('search', all))._unsafeUnwrap().body.toString()
      const shown = Object.keys(flat(tree)).map(shownPath)
      expect(shown.sort()).toEqual(found.split('\n').filter(Boolean).sort())
    }),
    { numRuns: 100 },
  )
}, 60_000)

test('a project without files has the empty tree', async () => {
  const { project, snapshot, objects } = await place()
  mkdirSync(join(project, 'empty/empty'), { recursive: true })
  expect(await snapshot()).toMatchObject({ tree: EMPTY_TREE, files: 0, bytes: 0, left_out: [] })
  expect(objects.has(EMPTY_TREE)).toBe(true)
})

test('what is left out is named, with why', async () => {
  const { base, sh, project, snapshot, flat } = await place()
  sh(`mkdir -p .git src/deep node_modules/x dist kept/node_modules
    printf 'dist/\\n*.log\\n!keep.log\\n' >.gitignore; printf '*.tmp\\n' >src/.gitignore
    touch a.log keep.log src/b.tmp src/b.log src/.env c.tmp dist/x node_modules/x/y kept/node_modules/y
    mkfifo pipe; head -c 1001 /dev/zero >large; head -c 1000 /dev/zero >fits
    echo secret >.env; echo secret >deploy.pem; echo example >.env.example; echo public >id_rsa.pub
    echo '//r/:_authToken=abc' >.npmrc; echo '//r/:_authToken=\${TOKEN}' >src/.npmrc
    mkdir .env.d; touch .env.d/kept; ln -s nowhere .env.link`)
  const server = createServer().listen(join(project, 'socket'))
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const { left_out, left_out_count, tree } = await snapshot()
  const commitment = (path: string, text: string) => sha256(sha256(path + ASKED.salt) + text)
  expect(left_out).toEqual([
    { path: '.env', why: 'secret', commitment: commitment('.env', 'secret\n') },
    { path: '.npmrc', why: 'secret', commitment: commitment('.npmrc', '//r/:_authToken=abc\n') },
    { path: 'a.log', why: 'ignored' },
    { path: 'deploy.pem', why: 'secret', commitment: commitment('deploy.pem', 'secret\n') },
    { path: 'dist', why: 'ignored' },
    { path: 'kept/node_modules', why: 'ignored' },
    { path: 'large', why: 'large', size: 1001, sha256: sha256(Buffer.alloc(1001)) },
    { path: 'node_modules', why: 'ignored' },
    { path: 'pipe', why: 'device' },
    { path: 'socket', why: 'socket' },
    { path: 'src/.env', why: 'secret', commitment: commitment('src/.env', '') },
    { path: 'src/b.log', why: 'ignored' },
    { path: 'src/b.tmp', why: 'ignored' },
  ])
  expect(left_out_count).toBe(left_out.length)
  expect(Object.keys(flat(tree))).toEqual([
    '.env.d/kept',
    '.env.example',
    '.env.link',
    '.gitignore',
    'c.tmp',
    'fits',
    'id_rsa.pub',
    'keep.log',
    'src/.gitignore',
    'src/.npmrc',
  ])
  tick(base)
  sh("printf 'c.tmp\\n!a.log\\n' >>.gitignore; printf x >>large; echo other >.env")
  const next = await snapshot()
  const by = (path: string) => next.left_out.find((one) => one.path === path)
  expect(by('c.tmp')?.why).toBe('ignored')
  expect(by('a.log')).toBeUndefined()
  expect(by('large')?.size).toBe(1002)
  expect(by('.env')?.commitment).toBe(commitment('.env', 'other\n'))
  expect(by('deploy.pem')?.commitment).toBe(commitment('deploy.pem', 'secret\n'))
})

test('what cannot be read is named, and nothing older takes its place', async () => {
  const { sh, project, snapshot, flat } = await place()
  writeFileSync(join(project, 'file'), 'text')
  const far = `d=$(printf 'd%.0s' {1..250}); for i in {1..17}; do mkdir $d; cd $d; done; echo x >deep`
  sh(far)
  onTestFinished(() => void sh('rm -rf d*'))
  const { left_out, tree } = await snapshot()
  expect(left_out.map(({ why }) => why)).toEqual(['unreadable'])
  expect(flat(tree)).toEqual({ file: '100644 text' })
})

test('what does not stop changing while it is read is named as unreadable', async () => {
  const { sh, project, snapshot } = await place()
  sh('truncate -s 100M log; truncate -s 100M still')
  const writer = spawn('bash', ['-c', 'while :; do printf x 1<>log; done'], { cwd: project })
  onTestFinished(() => void writer.kill())
  const { left_out } = await snapshot()
  expect(left_out).toEqual([
    { path: 'log', why: 'unreadable' },
    { path: 'still', why: 'large', size: 104_857_600, sha256: expect.any(String) },
  ])
})

test('of more files than are looked at, each file and folder is named', async () => {
  const { sh, project, snapshot, flat } = await place()
  sh('mkdir a z; touch a/{1..5} b z/1; mkdir n; for i in {100..399}; do touch n/$i; done')
  const { left_out, tree } = await snapshot({ maxFiles: 4 })
  expect(Object.keys(flat(tree))).toEqual(['a/1', 'a/2', 'a/3', 'a/4'])
  expect(left_out).toEqual(['a/5', 'b', 'n', 'z'].map((path) => ({ path, why: 'limit' })))
  writeFileSync(join(project, 'n/.gitignore'), '*')
  const many = await snapshot()
  expect(many.left_out_count).toBe(301)
  expect(many.isNamed).toBe(false)
  expect(many.left_out.at(-1)?.path).toBe('n/399')
  expect(many.left_out).toHaveLength(301)
})

test.skipIf(isMissing('git'))(
  'a repository below the project is left out with its commit; no repository is touched',
  async () => {
    const { base, sh, project, snapshot, flat } = await place()
    const commits =
      sh(`export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
      new() { git init -q "$1"; git -C "$1" commit -q --allow-empty -m "$1" >&2; git -C "$1" rev-parse HEAD; }
      new .; new loose; new packed; git -C packed pack-refs --all; new detached; git -C detached checkout -q --detach
      git worktree add -q tree >&2; git -C tree commit -q --allow-empty -m tree; git -C tree rev-parse HEAD
      new ../outside; git -C ../outside worktree add -q "$PWD/linked" >&2
      mkdir -p fake/.git deep/er; echo 'ref: refs/../../secret' >fake/.git/HEAD; new deep/er/one
      mkdir way; echo "gitdir: $PWD/../outside/.git" >way/.git; ln -s loose link`).split('\n')
    const [, loose, packed, detached, tree, , deep] = commits
    const state = () =>
      sh(`find . ../outside -path '*.git*' -printf '%p %y %m %s %T@ %C@\\n' | sort`) +
      sh(`find . ../outside -path '*.git*' -type f -print0 | sort -z | xargs -0 sha256sum`)
    const before = state()
    const all = await snapshot()
    const repository = (path: string, commit?: string) => ({
      path,
      why: 'repository',
      ...(commit !== undefined && { commit }),
    })
    expect(all.left_out).toEqual([
      repository('deep/er/one', deep),
      repository('detached', detached),
      repository('fake'),
      repository('linked'),
      repository('loose', loose),
      repository('packed', packed),
      repository('tree', tree),
      repository('way'),
    ])
    expect(flat(all.tree)).toEqual({ link: '120000 loose' })
    expect(state()).toBe(before)
    const linked = await place(join(project, 'linked'))
    writeFileSync(join(project, 'linked/file'), 'x')
    const own = await linked.snapshot()
    expect(linked.flat(own.tree)).toEqual({ file: '100644 x' })
    expect(own.left_out).toEqual([])
    expect(base).not.toBe(linked.base)
  },
)

test('names are bytes, a file becomes a folder, and links are stored, not followed', async () => {
  const { base, sh, snapshot, flat } = await place()
  mkdirSync(join(base, 'outside'))
  writeFileSync(join(base, 'outside/secret'), 'of another')
  sh(`printf 1 >$'\\xff\\xfe'; mkdir $'d\\x80'; printf 2 >$'d\\x80/é'; printf 3 >both`)
  sh('ln -s ../outside out; ln -s ../outside/secret one; ln -s nothing dead; ln -s . me')
  const links = {
    out: '120000 ../outside',
    one: '120000 ../outside/secret',
    dead: '120000 nothing',
    me: '120000 .',
  }
  const names = { '\xff\xfe': '100644 1', [`d\x80/${pathBytes('é')}`]: '100644 2' }
  const first = await snapshot()
  expect(flat(first.tree)).toEqual({ ...links, ...names, both: '100644 3' })
  tick(base)
  sh('rm both out; mkdir both out; printf 4 >both/both; printf 5 >out/x')
  const { out: _, ...others } = links
  const changed = { 'both/both': '100644 4', 'out/x': '100644 5' }
  expect(flat((await snapshot()).tree)).toEqual({ ...others, ...names, ...changed })
  tick(base)
  sh('rm -r both out; printf 6 >both; ln -s ../outside out; printf g >.gitignore')
  expect(flat((await snapshot()).tree)).toEqual({
    ...links,
    ...names,
    both: '100644 6',
    '.gitignore': '100644 g',
  })
})

test('a change that leaves size and time as they were is seen', async () => {
  const { base, project, snapshot, flat } = await place()
  const file = join(project, 'file')
  const time = new Date('2020-01-01')
  for (const text of ['aaa', 'bbb', 'ccc', 'ddd']) {
    tick(base)
    writeFileSync(file, text)
    utimesSync(file, time, time)
    expect(flat((await snapshot()).tree)).toEqual({ file: `100644 ${text}` })
  }
  const other = join(base, 'other')
  writeFileSync(other, 'eee')
  utimesSync(other, time, time)
  renameSync(other, file)
  expect(flat((await snapshot()).tree)).toEqual({ file: '100644 eee' })
})

test('a file is read again if it was changed just before it was read', async () => {
  const file = join(await temporaryFolder(), 'file')
  writeFileSync(file, 'text')
  utimesSync(file, new Date('2020-01-01'), new Date('2020-01-01'))
  const stats = statSync(file, { bigint: true })
  const changedMs = Number(stats.ctimeMs)
  expect([1, 2_000, 2_001].map((after) => isSettled(stats, changedMs + after))).toEqual([
    false,
    false,
    true,
  ])
  utimesSync(file, new Date('2100-01-01'), new Date('2100-01-01'))
  expect(isSettled(statSync(file, { bigint: true }), changedMs + 60_000)).toBe(false)
})

test('two copies of a project have the same packs, of which later ones hold only what is new', async () => {
  const one = await place()
  const two = await place(undefined, { isLater: false })
  for (const { sh } of [one, two]) {
    sh('mkdir a b; for i in {1..300}; do echo $i >a/$i; done; cp a/1 b/copy')
  }
  const first = await one.snapshot()
  const second = await two.snapshot()
  expect(first.hashes).toEqual(second.hashes)
  expect(first.packs).toBeGreaterThan(1)
  expect(first.fresh).toHaveLength(303)
  tick(one.base)
  writeFileSync(join(one.project, 'b/new'), 'new')
  const { fresh, packs } = await one.snapshot()
  expect(packs).toBeLessThanOrEqual(3)
  expect(fresh.map(({ type }) => type)).toEqual(['blob', 'tree', 'tree'])
  rmSync(join(one.project, 'b/new'))
  expect(await one.snapshot()).toMatchObject({ packs: 0, tree: first.tree })
})

test('packs that were not all fetched are packed again', async () => {
  const { project, ask, fetched, snapshot, files } = await place()
  writeFileSync(join(project, 'file'), 'text')
  const { body: _, ...first } = await ask()
  const again = await snapshot()
  expect(again).toMatchObject(first)
  expect(again.packs).toBeGreaterThan(0)
  expect((await snapshot()).packs).toBe(0)
  expect((await files.ask('pack', { number: 0 }))._unsafeUnwrapErr()).toEqual({
    problem: { type: 'not_found' },
  })
  await expect(fetched(9)).rejects.toThrow()
})

test('beyond the limit of the run, only ids are kept, and counted', async () => {
  const { base, project, snapshot } = await place()
  for (const text of ['a', 'b', 'c']) writeFileSync(join(project, text), text.repeat(500))
  const whole = await (await place(project)).snapshot()
  const { fresh, ...cut } = await snapshot({ maxBytes: 1100 })
  expect(cut).toMatchObject({ tree: whole.tree, files: 3, bytes: 1500 })
  const left = whole.fresh.reduce((sum, { content }) => sum + content.length, 0) - 1000
  expect(cut.unkept).toEqual({ objects: 2, bytes: left })
  expect(fresh).toHaveLength(2)
  const none = await snapshot({ maxBytes: 0 })
  expect(none).toMatchObject({ tree: whole.tree, packs: 0, unkept: cut.unkept })
  tick(base)
  writeFileSync(join(project, 'a'), 'new')
  const more = await snapshot({ maxBytes: 1100 })
  expect(more.unkept).toEqual({ objects: 1, bytes: 500 })
  expect(more.fresh.map(({ content }) => String(content))).toContain('new')
  const { files, bytes, unkept } = more
  const unchanged = await snapshot({ maxBytes: 1100 })
  expect(unchanged).toMatchObject({ tree: more.tree, files, bytes, unkept, packs: 0 })
})

test('beyond the limit of contents, trees are kept up to a limit of their own', async () => {
  const { sh, snapshot } = await place()
  sh('mkdir sub; echo content >sub/a; echo content of b >b')
  const { tree, fresh, unkept } = await snapshot({ maxBytes: 0, maxTreeBytes: 1000 })
  expect(fresh.map(({ type }) => type)).toEqual(['tree', 'tree'])
  expect(fresh.map(({ id }) => id)).toContain(tree)
  expect(unkept).toEqual({ objects: 2, bytes: 'content\ncontent of b\n'.length })
})

test('nothing is left beside the project', async () => {
  const { base, project, files, snapshot } = await place()
  writeFileSync(join(project, 'file'), 'text')
  await snapshot()
  await files[Symbol.asyncDispose]()
  expect(readdirSync(base)).toEqual(['project'])
  expect(readdirSync(project)).toEqual(['file'])
  expect(readFileSync(join(project, 'file'), 'utf8')).toBe('text')
})
