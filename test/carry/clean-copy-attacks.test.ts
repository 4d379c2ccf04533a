import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { COMPILE_CACHE } from '../support/build.ts'
import { isRoot, LEVELS } from '../support/levels.ts'
import { workspacePrograms } from '../support/processes.ts'
import { bashIn, place, run } from './copy-support.ts'

/** Puts a link to another folder in the place of folders, and back, all the time. */
const SWAP = `const { renameSync, symlinkSync, unlinkSync } = require('node:fs')
const [project, target] = process.argv.slice(1)
console.log('ready')
for (let n = 0; ; n = (n + 1) % 40) {
  const folder = project + '/d' + n
  try { renameSync(folder, folder + '-old'); symlinkSync(target, folder); unlinkSync(folder); renameSync(folder + '-old', folder) } catch {}
}`

test('what swaps folders with links while they are copied brings nothing from elsewhere into the copy', async () => {
  const at = await place('none')
  const target = join(at.base, 'target')
  await mkdir(target)
  for (let n = 0; n < 40; n += 1) await writeFile(join(target, `f${n}`), 'secret')
  await at.fill(
    'for n in $(seq 0 39); do mkdir d$n; for f in $(seq 0 39); do echo mine >d$n/f$f; done; done',
  )
  const swapping = spawn(process.execPath, ['-e', SWAP, at.cwd, target])
  onTestFinished(() => void swapping.kill())
  await once(swapping.stdout, 'data')
  for (let tries = 0; tries < 3; tries += 1) {
    const copied = await at.copied()
    if (copied.isErr()) continue
    await using copy = copied.value
    const found = await bashIn(copy, 'grep -rl secret . | head -3; grep -rc mine . | wc -l')
    expect(found.stdout).toMatch(/^\d+\n$/)
    expect(Number(found.stdout)).toBeGreaterThan(0)
  }
})

test('a folder that is deeper than paths may be long is copied and removed', async () => {
  const at = await place('none')
  const name = 'x'.repeat(200)
  await at.fill(`for n in $(seq 30); do mkdir ${name}; cd ${name}; done; echo end >deep`)
  const copy = await at.copy()
  const { stdout } = await bashIn(copy, 'find . -name deep -printf "%d %s"; touch made')
  expect(stdout).toBe('31 4')
  const put = await copy.put([
    { path: `${`${name}/`.repeat(30)}deep`, content: Buffer.from('longer') },
  ])
  expect(put.isOk()).toBe(true)
  expect((await bashIn(copy, 'find . -name deep -printf %s')).stdout).toBe('6')
  await copy[Symbol.asyncDispose]()
  expect(await at.folders()).toEqual([])
})

test('if the folder of the project is replaced before, or is gone, there is no copy', async () => {
  const at = await place('none')
  await at.fill('echo mine >a')
  await run('mv', [at.cwd, `${at.cwd}-old`])
  await mkdir(join(at.base, 'other'))
  await symlink(join(at.base, 'other'), at.cwd)
  expect((await at.copied())._unsafeUnwrapErr()).toMatch(/is not the folder of this run/)
  expect(await at.folders()).toEqual([])
})

test('a project with more bytes than a copy may have is not copied, and nothing is left', async () => {
  const at = await place('none')
  await at.fill('truncate -s 17G large')
  expect((await at.copied())._unsafeUnwrapErr()).toMatch(/more than 17179869184 bytes/)
  expect(await at.folders()).toEqual([])
})

/** A small disk in memory for the data folder of a server. */
async function smallDisk(folder: string): Promise<void> {
  await mkdir(folder)
  await run('mount', ['-t', 'tmpfs', '-o', 'size=530M,mode=755', 'none', folder])
  onTestFinished(() => run('umount', ['-l', folder]).then(() => {}))
}

/** Each level once. */
const ONCE = LEVELS.filter(([, , owner]) => owner === null)

test.runIf(isRoot).for(ONCE.filter(([name]) => name !== 'landlock'))(
  'at %s, a copy for which the disk has no room is not made',
  async ([, level]) => {
    const at = await place(level, null, smallDisk)
    await at.fill(
      'head -c 10000000 /dev/urandom >a; mkdir b; for n in $(seq 40); do head -c 500000 /dev/zero >b/$n; done',
    )
    const why = (await at.copied())._unsafeUnwrapErr()
    expect(why).toMatch(/has no room for a copy of the project|left less than 512 MiB/)
    expect(await at.folders()).toEqual([])
  },
)

test('copies are removed with their run, and those of all runs when a server starts', async () => {
  const at = await place('none')
  await at.fill(
    `mkdir -p closed $'\\xff'; echo 1 >$'\\xff/\\xfe'; echo 2 >closed/x; chmod 000 closed`,
  )
  await at.copy()
  expect(await at.folders()).toHaveLength(1)
  await at.isolation.forget('run')
  expect(await at.folders()).toEqual([])
  await at.copy()
  await at.copy()
  expect(await at.folders()).toHaveLength(2)
  await at.isolation.forgetAllBut(new Set(['run']))
  expect(await at.folders()).toEqual([])
})

test.for(ONCE)(
  'at %s, nothing is left of a copy whose server was killed, once the next one has started',
  async ([, level]) => {
    const at = await place(level)
    await at.fill('mkdir many; for n in $(seq 40); do truncate -s 400M many/$n; done')
    const file = join(import.meta.dirname, './clean-copy-process.ts')
    const server = spawn(process.execPath, [file, level, at.dataDir, at.cwd], {
      env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
    })
    const files = () => at.folders().then(([folder = '/none']) => readdir(join(folder, 'many')))
    await vi.waitUntil(async () => (await files().catch(() => [])).length > 0, 60_000)
    server.kill('SIGKILL')
    await once(server, 'exit')
    expect(await at.folders()).toHaveLength(1)
    // The program that copies ends with its server.
    await vi.waitUntil(() => workspacePrograms(at.cwd).length === 0, 30_000)
    await at.isolation.forgetAllBut(new Set(['run']))
    expect(await at.folders()).toEqual([])
  },
)
