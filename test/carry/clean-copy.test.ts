import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pathBytes } from '../../src/lib/git-objects.ts'
import { differenceOf } from '../../src/runner/command.ts'
import { isRoot, LEVELS, ONCE, USER } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'
import { bashIn, place, run } from './copy-support.ts'

const SNAPSHOT = { maxFileBytes: 5_000_000, maxBytes: 0, salt: '' }

/** Names, modes, times and kinds of all sorts. */
const ALL_SORTS = String.raw`
git init -q; git config user.email a@b; git config user.name a
mkdir -p sub/empty 'new
line' $'\xff\xfe' closed; echo 1 >sub/a; echo 2 >$'new\nline/\xc3('; echo 3 >$'\xff\xfe/x'; : >empty
printf '#!/bin/sh\necho ran\n' >run.sh; chmod 755 run.sh; echo 4 >read-only; chmod 444 read-only
echo 5 >open; chmod 666 open; ln -s sub/a link; ln -s /etc/passwd outside; ln -s none dangling
ln -s .. up; ln -s "$(printf '\377')" odd-link; ln sub/a hard; echo 6 >closed/in; chmod 555 closed
cp /bin/true setuid; chmod 4755 setuid
touch -d '2001-02-03 04:05:06.789' sub/a run.sh sub closed; touch -hd '2002-03-04' link
git add -A 2>/dev/null; git commit -qm one; echo 7 >later; truncate -s 20M sparse; printf end >>sparse`

/** What is in a folder, with all that a copy keeps. */
async function listed(folder: string): Promise<string[]> {
  const format = String.raw`%P\t%y\t%m\t%l\t%.22T@\t%s\0`
  const { stdout } = await run('find', ['.', '-mindepth', '1', '-printf', format], {
    cwd: folder,
    encoding: 'latin1',
    maxBuffer: 1e9,
  })
  return stdout
    .split('\0')
    .map((line) =>
      line
        // Times have parts of a microsecond that Node does not set.
        .replace(/\t(\d+\.\d+)\t(\d+)$/, (_, time, size) => `\t${Number(time).toFixed(2)}\t${size}`)
        .replace(/\t(d\t.*)\t\d+$/s, '\t$1')
        .replace(/\t4(755\t)/, '\t$1'),
    )
    .sort()
}

test.for(ONCE)(
  'at %s, a copy has all that the project has, and commands work in it as in the project',
  async ([, level, owner]) => {
    const at = await place(level, owner)
    await at.fill(ALL_SORTS)
    await run('mkfifo', [join(at.cwd, 'pipe')])
    const socket = createServer().listen(join(at.cwd, 'socket'))
    await once(socket, 'listening')
    const tree = (await at.files.ask('snapshot', SNAPSHOT))._unsafeUnwrap().tree
    const before = await listed(at.cwd)
    const copy = await at.copy()
    socket.close()
    expect(copy.left.toSorted()).toEqual(['pipe', 'socket'])
    const [folder = ''] = await at.folders()
    const special = /^(pipe|socket)\t/
    const wanted = before.filter((line) => !special.test(line))
    expect(await listed(folder)).toEqual(wanted)
    expect((await copy.tree())._unsafeUnwrap()).toBe(tree)

    const { output, policy } = await bashIn(copy, WORK)
    const where = level === 'namespaces' ? at.cwd : folder
    expect(output).toBe(`${where}\nran\n7\n?? later\n?? sparse\none\nend`)
    expect((await copy.tree())._unsafeUnwrap()).not.toBe(tree)
    const inProject = await at.bash('true', {})
    expect(inProject.policy).toMatchObject({ level })
    expect(inProject.policy && policy && differenceOf(inProject.policy, policy)).toBeNull()

    // No command of the run sees it.
    const seen = await at.bash(`cat ${folder}/later; echo 9 >${folder}/later; ls ${folder}`)
    if (level !== 'none') expect(seen.stdout).toBe('')
    const later = await readFile(join(folder, 'later'), 'utf8')
    expect(later).toBe(level === 'none' ? '9\n' : '8\n')
    await copy[Symbol.asyncDispose]()
    expect(await at.folders()).toEqual([])
    expect((await listed(at.cwd)).filter((line) => !special.test(line))).toEqual(wanted)
  },
)

const WORK = `pwd; ./run.sh; cat later; git status --short; git log --format=%s
tail -c 3 sparse; echo 8 >later; rm -r sub; touch made`

const content = (text: string | null) => (text === null ? null : Buffer.from(text))
const file = (path: string, text: string | null) => ({
  path: pathBytes(path),
  content: content(text),
})

test.for(ONCE.filter(([, level]) => level !== 'landlock'))(
  'at %s, files are put into a copy through no link, also those that git and the server obey',
  async ([, level, owner]) => {
    const at = await place(level, owner)
    await at.fill(`git init -q; mkdir -p tests/deep outside shut; echo old >tests/a; echo x >outside/kept
      ln -s outside led; ln -s "$PWD/outside/kept" one; echo f >in-the-way; echo s >shut/s; chmod 555 shut
      mkdir -p full/of/things; echo y >full/of/things/y; echo 'goal: x' >.retrai.yml; printf z >$'\\xff'`)
    const copy = await at.copy()
    const put = await copy.put([
      file('tests/a', 'new'),
      { path: 'tests/run', mode: '100755', content: Buffer.from('#!/bin/sh\necho ran') },
      { path: 'tests/link', mode: '120000', content: Buffer.from('a') },
      file('tests/none/of/it', null),
      file('tests/deep/er/b', 'b'),
      file('led/kept', 'through'),
      file('one', 'through'),
      file('in-the-way/c', 'c'),
      file('shut/s', null),
      file('shut/t', 't'),
      file('full', null),
      file('.retrai.yml', 'goal: y'),
      file('.git/hooks/pre-commit', 'hook'),
      { path: '\xff', content: Buffer.from('Z') },
      { path: '\xfe\n', content: Buffer.from('N') },
      file('tests/deep', 'a file now'),
    ])
    put._unsafeUnwrap()
    const { output } = await bashIn(
      copy,
      `cat tests/a tests/deep led/kept one in-the-way/c shut/t .retrai.yml .git/hooks/pre-commit $'\\xff' $'\\xfe\\n'
      echo; tests/run; readlink tests/link; cat outside/kept; ls -d led full tests/none shut/s 2>/dev/null`,
    )
    expect(output).toBe('newa file nowthroughthroughctgoal: yhookZN\nran\na\nx\nled\n')
    expect(await readFile(join(at.cwd, 'outside/kept'), 'utf8')).toBe('x\n')
    expect(await readFile(join(at.cwd, 'tests/a'), 'utf8')).toBe('old\n')
    expect(
      (await copy.files.ask('read', { path: '.retrai.yml', bytes: 99 }))
        .map(({ body }) => String(body))
        ._unsafeUnwrap(),
    ).toBe('goal: y')
    for (const path of ['../out', 'a/../../out', '/etc/x', 'a//b', '', '.']) {
      expect((await copy.put([file(path, 'x')]))._unsafeUnwrapErr()).toMatchObject({ path })
    }
    expect(await readdir(at.base)).toEqual(['data', 'project'])
    const large = Buffer.alloc(15_000_000, 'l')
    const names = ['1', '2', '3']
    ;(
      await copy.put(names.map((name) => ({ path: `large${name}`, content: large })))
    )._unsafeUnwrap()
    expect((await bashIn(copy, 'cat large? | wc -c')).stdout).toBe('45000000\n')
  },
)

test.for(LEVELS.filter(([, , owner]) => owner === null))(
  'at %s, a copy of a folder in a larger repository is as that, by the rules of the repository',
  async ([, level, owner]) => {
    const at = await place(level, owner, undefined, 'app')
    await at.fill('git init -q ..; echo /app/out >../.gitignore; echo 1 >out; echo 2 >kept')
    const { tree, left_out } = (await at.files.ask('snapshot', SNAPSHOT))._unsafeUnwrap()
    expect(left_out).toEqual([{ path: 'out', why: 'ignored' }])
    expect((await (await at.copy()).tree())._unsafeUnwrap()).toBe(tree)
  },
)

test('what must be skipped is not copied, and what cannot be read is named', async () => {
  const at = await place('none')
  await at.fill(
    `mkdir -p dist a/dist $'\\xff'; echo 1 >dist/x; echo 2 >a/dist/x; echo 3 >$'\\xff/x'; echo 4 >kept`,
  )
  const copy = await at.copy(['dist', '\ufffd/x', 'missing'])
  const { stdout } = await bashIn(copy, 'find . -type f')
  expect(stdout.trim().split('\n').sort()).toEqual(['./a/dist/x', './kept'])
})

test.runIf(isRoot && !isMissing('bwrap'))(
  'what the user of commands may not read is named',
  async () => {
    const at = await place('namespaces', USER)
    await at.fill('mkdir -p sub; echo 1 >a; echo 2 >sub/secret; mkdir closed; echo 3 >closed/x')
    for (const path of ['sub/secret', 'closed']) {
      await run('chown', ['-R', '0:0', join(at.cwd, path)])
      await run('chmod', ['000', join(at.cwd, path)])
    }
    const copy = await at.copy()
    expect(copy.left).toEqual(['closed', 'sub/secret'])
    expect((await bashIn(copy, 'cat a; ls sub; ls -d closed')).output).toMatch(/^1\n.*closed/s)
  },
)
