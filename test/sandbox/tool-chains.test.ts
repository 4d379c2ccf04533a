import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findProgram, toolChains } from '../../src/sandbox/tool-chains.ts'
import { temporaryFolder } from '../runner/support.ts'

async function shown(files: readonly string[], path: string): Promise<string[]> {
  const base = await temporaryFolder()
  for (const file of files) {
    await mkdir(join(base, file, '..'), { recursive: true })
    await writeFile(join(base, file), '')
  }
  const env = { HOME: join(base, 'home'), PATH: `/usr/bin:${join(base, path)}` }
  const tools = toolChains(env, [], [join(base, 'home/data')])
  return tools.flatMap((tool) => (tool.startsWith(base) ? [tool.slice(base.length + 1)] : []))
}

test('of a project whose bin is on the PATH, neither its secrets nor its sources are shown', async () => {
  const files = ['shop/bin/deploy', 'shop/.env', 'shop/lib/index.ts', 'shop/.git/config']
  expect(await shown(files, 'shop/bin')).toEqual(['shop/bin'])
  expect(await shown(['home/bin/own', 'home/.ssh/id', 'home/lib/secret'], 'home/bin')).toEqual([
    'home/bin',
  ])
})

test.each([
  [['tc/bin/java', 'tc/lib/modules', 'tc/conf/net', 'tc/x'], 'tc/bin', ['bin', 'lib', 'conf']],
  [['tc/bin/python', 'tc/pyvenv.cfg', 'tc/lib/a'], 'tc/bin', ['bin', 'lib', 'pyvenv.cfg']],
])('of a tool chain, %j, what its programs need is shown', async (files, path, parts) => {
  expect(await shown(files, path)).toEqual(parts.map((name) => `tc/${name}`))
})

test('packages of npm and the sources of Go are shown with their programs', async () => {
  const npm = ['p/node_modules/.bin/tsc', 'p/node_modules/typescript/package.json']
  expect(await shown(npm, 'p/node_modules/.bin')).toEqual(['p/node_modules'])
  const go = ['go1/bin/go', 'go1/pkg/include/textflag.h', 'go1/src/fmt/print.go']
  expect(await shown(go, 'go1/bin')).toEqual(['go1'])
})

test('a program is found through links that keep its name, and not in a folder of the working directory', async () => {
  const base = await temporaryFolder()
  const [real, links] = [join(base, 'real'), join(base, 'links')]
  for (const folder of [real, links]) await mkdir(folder)
  for (const name of ['tool', 'busybox']) await writeFile(join(real, name), '', { mode: 0o755 })
  await symlink('busybox', join(real, 'ip'))
  for (const name of ['tool', 'ip']) await symlink(join(real, name), join(links, name))
  for (const name of ['tool', 'ip']) expect(findProgram(name, links)).toBe(join(real, name))
  expect(findProgram('retrai', ':bin:./bin')).toBeNull()
})
