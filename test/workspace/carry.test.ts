import { once } from 'node:events'
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { chmod, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { objectId, pathBytes, shownPath } from '../../src/lib/git-objects.ts'
import type { CarriedPath, CarriedState } from '../../src/workspace/protocol.ts'
import { temporaryFolder } from '../runner/support.ts'
import { workspaceOf } from './support.ts'

/** A file or a link: its mode in a tree, and its content. */
type File = { readonly mode: '100644' | '100755' | '120000'; readonly content: string }
type Files = Readonly<Record<string, File>>

const stateOf = (file: File | undefined): CarriedState =>
  file === undefined ? null : { mode: file.mode, id: objectId('blob', Buffer.from(file.content)) }

async function fill(root: string, files: Files): Promise<void> {
  for (const [path, { mode, content }] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    if (mode === '120000') await symlink(content, join(root, path))
    else await writeFile(join(root, path), content)
    if (mode === '100755') await chmod(join(root, path), 0o755)
  }
}

/** All that is in a folder, but the folders themselves. */
function filesIn(root: string, above = ''): Record<string, File> {
  const found: Record<string, File> = {}
  for (const name of readdirSync(join(root, above))) {
    const path = above === '' ? name : `${above}/${name}`
    const stats = lstatSync(join(root, path))
    if (stats.isDirectory()) Object.assign(found, filesIn(root, path))
    else if (stats.isSymbolicLink()) {
      found[path] = { mode: '120000', content: readlinkSync(join(root, path)) }
    } else {
      const mode = (stats.mode & 0o100) === 0 ? '100644' : '100755'
      found[path] = { mode, content: readFileSync(join(root, path), 'latin1') }
    }
  }
  return found
}

/** What makes the files of `to` of those of `from`. @param above what comes before each path */
function question(from: Files, to: Files, above = '') {
  const bodies: Buffer[] = []
  const files: CarriedPath[] = []
  for (const path of [...new Set([...Object.keys(from), ...Object.keys(to)])].sort()) {
    const [old, fresh] = [stateOf(from[path]), stateOf(to[path])]
    if (old?.id === fresh?.id && old?.mode === fresh?.mode) continue
    const body = to[path] === undefined ? null : Buffer.from(to[path].content)
    if (body !== null) bodies.push(body)
    files.push({
      path: pathBytes(above + path),
      from: [old],
      to: fresh,
      bytes: body?.length ?? null,
    })
  }
  return { question: { files, isLook: false }, body: Buffer.concat(bodies) }
}

const file = (content: string, mode: File['mode'] = '100644'): File => ({ mode, content })
const isAbove = (one: string, other: string): boolean => other.startsWith(`${one}/`)

const PATHS = ['a', 'a/b', 'a/b/c', 'a/d', 'e', 'e/f', 'g h', 'é']
/** No file is where others need a folder. */
const someFiles = fc
  .dictionary(
    fc.constantFrom(...PATHS),
    fc.record({
      mode: fc.constantFrom('100644' as const, '100755' as const, '120000' as const),
      content: fc.constantFrom('1', '2', 'three\n'),
    }),
    { noNullPrototype: true },
  )
  .map((files): Files => {
    const kept = Object.keys(files).filter(
      (path) => !PATHS.some((one) => one in files && isAbove(one, path)),
    )
    return Object.fromEntries(kept.map((path) => [path, files[path] as File]))
  })

test('all files become what they are to be, or nothing changes', async () => {
  const base = await temporaryFolder()
  const files = workspaceOf(base)
  let count = 0
  await fc.assert(
    fc.asyncProperty(someFiles, someFiles, someFiles, async (from, to, beside) => {
      count += 1
      const within = `${count}`
      const root = join(base, within)
      mkdirSync(join(root, '.git'), { recursive: true })
      const own = { '.git/HEAD': file('ref: refs/heads/main\n') }
      // People have changed some files, and made others.
      const isFree = (path: string): boolean =>
        !Object.keys(from).some((one) => isAbove(one, path) || isAbove(path, one))
      const people = Object.fromEntries(Object.entries(beside).filter(([path]) => isFree(path)))
      await fill(root, { ...from, ...people, ...own })
      const before = filesIn(root)
      const { question: asked, body } = question(from, to, `${within}/`)
      const { found } = (await files.ask('carry', asked, { body }))._unsafeUnwrap()
      const paths = asked.files.map(({ path }) => shownPath(path).slice(within.length + 1))
      const wanted = Object.fromEntries(
        [...new Set([...Object.keys(before), ...Object.keys(to)])].flatMap((path) => {
          const one = paths.includes(path) ? to[path] : before[path]
          return one === undefined ? [] : [[path, one] as const]
        }),
      )
      expect(filesIn(root)).toEqual(found.includes('other') ? before : wanted)
      if (Object.keys(people).length === 0) expect(found).not.toContain('other')
      const isChanged = asked.files.some(({ path: bytes, to: next }, at) => {
        const path = shownPath(bytes).slice(within.length + 1)
        const known = people[path] ?? from[path]
        const is = stateOf(known)
        const isDone = is?.id === next?.id && is?.mode === next?.mode
        const isOther =
          people[path] !== undefined &&
          !isDone &&
          JSON.stringify(is) !== JSON.stringify(asked.files[at]?.from[0])
        return isOther
      })
      if (isChanged) expect(found).toContain('other')
      rmSync(root, { recursive: true })
    }),
    { numRuns: 60 },
  )
})

const THREAD = new URL('./carry-process.ts', import.meta.url)

/** Carries in a thread of its own, which is ended before a change to the file system: then there is no answer. */
async function carriedIn(root: string, asked: ReturnType<typeof question>, killAt: number) {
  const workerData = { ...asked, killAt }
  const thread = new Worker(THREAD, { argv: [root, root], workerData })
  const [answer] = await once(thread, 'message')
  await thread.terminate()
  return answer as { found: string[] } | null
}

test('killed before any of its steps, it leaves each file whole, and the same command ends', async () => {
  const base = await temporaryFolder()
  const from = {
    'src/one': file('1\n'),
    'src/two': file('2\n', '100755'),
    'gone/deep/x': file('x'),
    'swap/inner': file('folder'),
    turned: file('was a file'),
    link: file('src/one', '120000'),
  }
  const to = {
    'src/one': file('one\n'),
    'src/two': file('2\n'),
    swap: file('a file'),
    'turned/into/folder': file('in a folder'),
    link: file('src/two', '120000'),
    'new/file': file('n'),
  }
  const kept = { 'people/own': file('theirs'), 'src/ignored.log': file('log') }
  const asked = question(from, to)
  let killAt = 0
  for (; ; killAt += 1) {
    const root = join(base, `${killAt}`)
    await fill(root, { ...from, ...kept })
    const answer = await carriedIn(root, asked, killAt)
    const between = filesIn(root)
    for (const [path, now] of Object.entries(between)) {
      if (/\.retrai-[0-9a-f]{16}\.tmp$/.test(path)) continue
      const states = [from, to, kept].map((files: Files) => files[path])
      expect(states).toContainEqual(now)
    }
    for (const path of Object.keys(from)) {
      const isHere = between[path] !== undefined
      expect(isHere || !(path in to)).toBe(true)
    }
    const ended = answer ?? (await carriedIn(root, asked, 1_000))
    expect(ended?.found).not.toContain('other')
    expect(filesIn(root)).toEqual({ ...to, ...kept })
    if (answer !== null) break
  }
  expect(killAt).toBeGreaterThan(30)
})

test('what cannot be written to its end is put back, also after earlier questions of the same program', async () => {
  const root = await temporaryFolder()
  const from = { a: file('1'), 'b/c': file('2'), d: file('3') }
  await fill(root, from)
  const files = workspaceOf(root)
  const first = question({ a: file('1'), 'b/c': file('2') }, { a: file('x'), new: file('n') })
  expect(
    (await files.ask('carry', first.question, { body: first.body }))._unsafeUnwrap().found,
  ).toEqual([...['due', 'due', 'due']])
  await writeFile(join(root, 'd'), 'by somebody')
  const late = question({ d: file('3') }, { d: file('y') })
  const answer = await files.ask('carry', late.question, { body: late.body })
  expect(answer._unsafeUnwrap().found).toEqual(['other'])
  expect(filesIn(root)).toEqual({ ...from, d: file('by somebody') })
})

test('no link is followed, and what git obeys is refused', async () => {
  const root = await temporaryFolder()
  const outside = await temporaryFolder()
  await writeFile(join(outside, 'x'), 'out')
  await symlink(outside, join(root, 'way'))
  const through = question({ 'way/x': file('out') }, { 'way/x': file('changed') })
  const files = workspaceOf(root)
  const answer = await files.ask('carry', through.question, { body: through.body })
  expect(answer._unsafeUnwrap().found).toEqual(['other'])
  for (const path of ['.git/hooks/pre-commit', 'sub/.GIT/config', '../x']) {
    const asked = question({}, { [path]: file('x') })
    expect((await files.ask('carry', asked.question, { body: asked.body })).isErr()).toBe(true)
  }
  expect(await readFile(join(outside, 'x'), 'utf8')).toBe('out')
})

test('a file keeps who may read it', async () => {
  const root = await temporaryFolder()
  await fill(root, { secret: file('1'), run: file('2', '100755') })
  await chmod(join(root, 'secret'), 0o600)
  await chmod(join(root, 'run'), 0o750)
  const wanted = { secret: file('x', '100755'), run: file('y') }
  const asked = question({ secret: file('1'), run: file('2', '100755') }, wanted)
  const done = await workspaceOf(root).ask('carry', asked.question, { body: asked.body })
  expect(done.isOk()).toBe(true)
  const modeOf = async (name: string) => (await stat(join(root, name))).mode & 0o777
  expect([await modeOf('secret'), await modeOf('run')]).toEqual([0o700, 0o640])
})
