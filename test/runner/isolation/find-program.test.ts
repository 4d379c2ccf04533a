import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findProgram } from '../../../src/runner/isolation/find-program.ts'
import { temporaryFolder } from '../support.ts'

async function folders() {
  const base = await temporaryFolder()
  const [real, links] = [join(base, 'real'), join(base, 'links')]
  await mkdir(real)
  await mkdir(links)
  const program = async (name: string) => {
    const path = join(real, name)
    await writeFile(path, '', { mode: 0o755 })
    return path
  }
  return { base, real, links, program }
}

test('a program is found through links to it and to its folder', async () => {
  const { base, real, links, program } = await folders()
  const path = await program('tool')
  await symlink(real, join(base, 'other'))
  await symlink('../other/tool', join(links, 'tool'))
  expect(findProgram('tool', links)).toBe(path)
  expect(findProgram('tool', join(base, 'other'))).toBe(path)
})

test('a program that does what its name says keeps the name under which it is found', async () => {
  const { real, links, program } = await folders()
  await program('busybox')
  await symlink('busybox', join(real, 'ip'))
  await symlink(join(real, 'ip'), join(links, 'ip'))
  expect(findProgram('ip', links)).toBe(join(real, 'ip'))
})

test('folders, other files and folders of the working directory are not programs', async () => {
  const { base, real, links, program } = await folders()
  const path = await program('tool')
  await mkdir(join(base, 'tool'))
  await writeFile(join(links, 'tool'), '', { mode: 0o644 })
  expect(findProgram('tool', `${base}:${links}:${real}`)).toBe(path)
  expect(findProgram('README.md', ':.')).toBeNull()
  expect(findProgram('retrai', ':bin:./bin')).toBeNull()
})
