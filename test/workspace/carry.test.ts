import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import { chmod, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { objectId, pathBytes } from '../../src/lib/git-objects.ts'
import type { CarriedPath, CarriedState } from '../../src/workspace/protocol.ts'
import { temporaryFolder } from '../runner/support.ts'
import { filesIn, putFiles } from '../snapshots/repository.ts'
import type { File } from '../snapshots/support.ts'
import { workspaceOf } from './support.ts'

/** By the bytes of their paths. */
type Files = Readonly<Record<string, File>>

const stateOf = (file: File | undefined): CarriedState =>
  file === undefined ? null : { mode: file.mode, id: objectId('blob', file.content) }
const fill = (root: string, files: Files): void => putFiles(root, new Map(Object.entries(files)))
const now = (root: string): Files => Object.fromEntries(filesIn(root))

/** What makes the files of `to` of those of `from`. @param above what comes before each path */
function question(from: Files, to: Files, above = '') {
  const bodies: Buffer[] = []
  const files: CarriedPath[] = []
  for (const path of [...new Set([...Object.keys(from), ...Object.keys(to)])].sort()) {
    const [old, fresh] = [stateOf(from[path]), stateOf(to[path])]
    if (old?.id === fresh?.id && old?.mode === fresh?.mode) continue
    const body = to[path]?.content
    bodies.push(body ?? Buffer.of())
    files.push({ path: above + path, from: [old], to: fresh, bytes: body?.length ?? null })
  }
  return { question: { files, isLook: false }, body: Buffer.concat(bodies) }
}

const file = (content: string, mode: File['mode'] = '100644'): File => ({
  mode,
  content: Buffer.from(content),
})
const isAbove = (one: string, other: string): boolean => other.startsWith(`${one}/`)

const PATHS = ['a', 'a/b', 'a/b/c', 'a/d', 'e', 'e/f', 'g h', pathBytes('é')]
/** No file is where others need a folder. */
const someFiles = fc
  .dictionary(
    fc.constantFrom(...PATHS),
    fc.record({
      mode: fc.constantFrom('100644' as const, '100755' as const, '120000' as const),
      content: fc.constantFrom('1', '2', 'three\n').map((text) => Buffer.from(text)),
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
      fill(root, { ...from, ...people, ...own })
      const before = now(root)
      const { question: asked, body } = question(from, to, `${within}/`)
      const { found } = (await files.ask('carry', asked, { body }))._unsafeUnwrap()
      const paths = asked.files.map(({ path }) => path.slice(within.length + 1))
      const wanted = Object.fromEntries(
        [...new Set([...Object.keys(before), ...Object.keys(to)])].flatMap((path) => {
          const one = paths.includes(path) ? to[path] : before[path]
          return one === undefined ? [] : [[path, one] as const]
        }),
      )
      expect(now(root)).toEqual(found.includes('other') ? before : wanted)
      if (Object.keys(people).length === 0) expect(found).not.toContain('other')
      const isChanged = asked.files.some(({ from: [known], to: next }, at) => {
        const is = JSON.stringify(stateOf(people[paths[at] ?? '']))
        return is !== 'null' && ![known, next].some((state) => JSON.stringify(state) === is)
      })
      if (isChanged) expect(found).toContain('other')
      rmSync(root, { recursive: true })
    }),
    { numRuns: 60 },
  )
})

/** Carries as a program that dies before a change to the file system: then there is no answer. */
async function carriedBy(thread: Worker, asked: ReturnType<typeof question>, killAt: number) {
  thread.postMessage({ ...asked, killAt })
  const [answer] = await once(thread, 'message')
  return answer as { found: string[] } | null
}

test('killed before any of its steps, it leaves each file whole, and the same command ends', async () => {
  const root = join(await temporaryFolder(), 'project')
  const thread = new Worker(new URL('./carry-process.ts', import.meta.url), { argv: [root, root] })
  onTestFinished(() => thread.terminate().then(() => {}))
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
    rmSync(root, { recursive: true, force: true })
    fill(root, { ...from, ...kept })
    const answer = await carriedBy(thread, asked, killAt)
    const between = now(root)
    for (const [path, is] of Object.entries(between)) {
      if (/\.retrai-[0-9a-f]{16}\.tmp$/.test(path)) continue
      const states = [from, to, kept].map((files: Files) => files[path])
      expect(states).toContainEqual(is)
    }
    for (const path of Object.keys(from)) {
      const isHere = between[path] !== undefined
      expect(isHere || !(path in to)).toBe(true)
    }
    const ended = answer ?? (await carriedBy(thread, asked, 1_000))
    expect(ended?.found).not.toContain('other')
    expect(now(root)).toEqual({ ...to, ...kept })
    if (answer !== null) break
  }
  expect(killAt).toBeGreaterThan(30)
})

test('what cannot be written to its end is put back, also after earlier questions of the same program', async () => {
  const root = await temporaryFolder()
  const from = { a: file('1'), 'b/c': file('2'), d: file('3') }
  fill(root, from)
  const files = workspaceOf(root)
  const first = question({ a: file('1'), 'b/c': file('2') }, { a: file('x'), new: file('n') })
  expect(
    (await files.ask('carry', first.question, { body: first.body }))._unsafeUnwrap().found,
  ).toEqual(['due', 'due', 'due'])
  await writeFile(join(root, 'd'), 'by somebody')
  const late = question({ d: file('3') }, { d: file('y') })
  const answer = await files.ask('carry', late.question, { body: late.body })
  expect(answer._unsafeUnwrap().found).toEqual(['other'])
  expect(now(root)).toEqual({ ...from, d: file('by somebody') })
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
  fill(root, { secret: file('1'), run: file('2', '100755') })
  await chmod(join(root, 'secret'), 0o600)
  await chmod(join(root, 'run'), 0o750)
  const wanted = { secret: file('x', '100755'), run: file('y') }
  const asked = question({ secret: file('1'), run: file('2', '100755') }, wanted)
  const done = await workspaceOf(root).ask('carry', asked.question, { body: asked.body })
  expect(done.isOk()).toBe(true)
  const modeOf = async (name: string) => (await stat(join(root, name))).mode & 0o777
  expect([await modeOf('secret'), await modeOf('run')]).toEqual([0o700, 0o640])
})
