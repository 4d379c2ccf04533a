import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { removeFolder } from '../../src/lib/remove-folder.ts'
import { temporaryFolder } from '../runner/support.ts'

const numbered = (count: number) => Array.from({ length: count }, (_, n) => `f${n}`)

async function filled(folder: string, count: number): Promise<string> {
  await mkdir(folder, { recursive: true })
  await Promise.all(numbered(count).map((name) => writeFile(join(folder, name), '')))
  return folder
}

/** Waits until the first file of the folder is gone, and then puts a link in the place of that folder. */
const SWAP = `const { existsSync, renameSync, symlinkSync } = require('node:fs')
const [folder, target] = process.argv.slice(1)
console.log('ready')
while ([0, 1, 2, 3, 4, 5, 6, 7].every((n) => existsSync(folder + '/f' + n)));
try { renameSync(folder, folder + '-old'); symlinkSync(target, folder) } catch {}`

test('what puts a link in the place of a folder that is being removed loses only its own files', async () => {
  const base = await temporaryFolder()
  const target = await filled(join(base, 'target'), 400)
  for (let tries = 0; tries < 2; tries += 1) {
    const home = join(base, `home-${tries}`)
    const folder = await filled(join(home, 'd'), 1_000)
    const swapping = spawn(process.execPath, ['-e', SWAP, folder, target])
    onTestFinished(() => void swapping.kill())
    const closed = once(swapping, 'close')
    await once(swapping.stdout, 'data')
    await removeFolder(home).catch(() => {})
    await closed
    await removeFolder(home)
    expect(await readdir(base)).not.toContain(`home-${tries}`)
    expect(await readdir(target)).toHaveLength(400)
  }
})

test('links are removed, and what they lead to is not', async () => {
  const base = await temporaryFolder()
  const target = await filled(join(base, 'target'), 3)
  await filled(join(base, 'home/in/side'), 3)
  await symlink(target, join(base, 'home/in/link'))
  await symlink(target, join(base, 'linked-home'))
  await removeFolder(join(base, 'home'))
  await removeFolder(join(base, 'linked-home'))
  await removeFolder(join(base, 'missing'))
  expect(await readdir(base)).toEqual(['target'])
  expect(await readdir(target)).toHaveLength(3)
})

test('names that are not UTF-8 are removed', async () => {
  const base = await temporaryFolder()
  const named = (...bytes: number[]) => Buffer.concat([Buffer.from(`${base}/`), Buffer.from(bytes)])
  await mkdir(named(0xff))
  for (const name of [named(0xff, 0x2f, 0xfe), named(0xc3, 0x28)]) await writeFile(name, '')
  await mkdir(named(0xff, 0x2f, 0x80, 0x0a))
  await removeFolder(base)
  await mkdir(base)
})

test('folders that nobody may enter or change are removed, however deep they are', async () => {
  const base = await temporaryFolder()
  let folder = join(base, 'home')
  for (let depth = 0; depth < 300; depth += 1) folder = join(folder, 'x')
  await mkdir(folder, { recursive: true })
  const [closed, fixed] = [join(base, 'home/closed'), join(base, 'home/fixed')]
  await filled(closed, 2)
  await filled(join(fixed, 'inner'), 2)
  for (const path of [join(fixed, 'inner'), fixed]) await chmod(path, 0o555)
  await chmod(closed, 0)
  if (process.getuid?.() !== 0) return removeFolder(join(base, 'home'))
  // As the user of a command.
  for (const path of [base, join(base, 'home'), closed, fixed]) await chown(path, 1500, 1500)
  await removeFolder(join(base, 'home'))
  expect(await readdir(base)).toEqual([])
})
