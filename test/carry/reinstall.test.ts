import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { cleanCopies } from '../../src/carry/clean-copy.ts'
import { reinstall } from '../../src/carry/reinstall.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import { NO_ISOLATION } from '../../src/sandbox/isolation.ts'
import { temporaryFolder } from '../runner/support.ts'
import { openWorkspace } from '../workspace/support.ts'

const run = promisify(execFile)
const { signal } = new AbortController()

/** A copy of a project whose agent has changed an installed package and the lock file; the package is an archive in it. */
async function place() {
  const cwd = await temporaryFolder()
  const write = (name: string, text: string) => writeFile(join(cwd, name), text)
  const good = join(await temporaryFolder(), 'good')
  await mkdir(good)
  await writeFile(join(good, 'package.json'), '{"name":"good","version":"1.0.0"}')
  await writeFile(join(good, 'index.js'), `module.exports = 'good'\n`)
  await run('npm', ['pack', '--pack-destination', cwd], { cwd: good })
  const dependencies = { good: 'file:good-1.0.0.tgz' }
  await write('package.json', JSON.stringify({ name: 'project', version: '1.0.0', dependencies }))
  await run('npm', ['install', '--offline', '--no-audit'], { cwd })
  const lock = await readFile(join(cwd, 'package-lock.json'))
  await write('node_modules/good/index.js', `module.exports = 'bent'\n`)
  await write('package-lock.json', '{"lockfileVersion": 3, "packages": {}}')
  await write('.npmrc', 'prefix=/nowhere\nregistry=http://localhost:1\n')
  const open = cleanCopies({ isolation: NO_ISOLATION, openWorkspace, runCommand })
  const copied = await open({ project: { cwd }, run: 'run', skip: [], signal })
  const copy = copied._unsafeUnwrap()
  onTestFinished(() => copy[Symbol.asyncDispose]())
  const original = async (path: string) => (path === 'package-lock.json' ? { content: lock } : null)
  const says = async () => readFile(join(copy.cwd, 'node_modules/good/index.js'), 'utf8')
  return { copy, original, says }
}

const ASKED = { folders: ['node_modules'], network: 'full', signal } as const

/** With what dependencies stay as the run left them. */
const CHANGED = {
  'the run has no network': { network: 'none' as const },
  'there was no lock file at the start': { original: async () => null },
  'the lock file does not fit': { original: async () => ({ content: Buffer.from('{}') }) },
}

test('dependencies are installed from the lock file of the start, if that is possible, and other files stay as they are', async () => {
  const { copy, original, says } = await place()
  const before = await readdir(copy.cwd)
  const unchanged = async (why: string) => {
    expect(await readdir(copy.cwd), why).toEqual(before)
    const lock = await readFile(join(copy.cwd, 'package-lock.json'), 'utf8')
    expect(lock, why).toContain('"packages": {}')
    expect(await readFile(join(copy.cwd, '.npmrc'), 'utf8'), why).toContain('nowhere')
  }
  for (const [why, changes] of Object.entries(CHANGED)) {
    expect(await reinstall(copy, { ...ASKED, original, ...changes }), why).toBe('changed')
    expect(await says(), why).toContain('bent')
    await unchanged(why)
  }
  expect(await reinstall(copy, { ...ASKED, original })).toBe('reinstalled')
  expect(await says()).toContain('good')
  await unchanged('reinstalled')
})
