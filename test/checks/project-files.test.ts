import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { goals } from '../../src/checks/catalogue.ts'
import { readProjectSettings } from '../../src/checks/retrai-yml.ts'
import { runCommand } from '../../src/runner/run-command.ts'
import { workspaceOf } from '../workspace/support.ts'
import { project } from './support.ts'

const READ = ['.retrai.yml', 'package.json', 'GNUmakefile', 'Makefile'] as const

/** What may be in place of a file. Each blocks or floods a careless reader. */
const HOSTILE: Readonly<Record<string, (path: string) => Promise<void>>> = {
  'a pipe that nobody writes to': async (path) => {
    const signal = new AbortController().signal
    await runCommand({ file: 'mkfifo', args: [path], cwd: '/', timeoutMs: 60_000, signal })
  },
  'a link to an endless device': (path) => symlink('/dev/zero', path),
  'a file of 4 GiB': async (path) => {
    await writeFile(path, 'check_command: x\n')
    await truncate(path, 4 * 1024 ** 3)
  },
  'a folder': async (path) => void (await mkdir(path)),
  'a link out of the project': async (path) => {
    const other = await project({ file: 'check_command: x\n\ntest:\n\ttrue\n' })
    await symlink(join(other, 'file'), path)
  },
}

describe.each(Object.entries(HOSTILE))('a project with %s', (_, make) => {
  const made = async () => {
    const cwd = await project({ plain: 'text' })
    for (const name of READ) await make(join(cwd, name))
    return workspaceOf(cwd)
  }

  test('gets no goal because of it, and has no settings, for a reason', {
    timeout: 30_000,
  }, async () => {
    const files = await made()
    const asked = goals.filter(({ name }) => ['npm-test', 'make-test', 'shell-goal'].includes(name))
    const found = await Promise.all(asked.map(({ detect }) => detect?.(files)))
    expect(found).toEqual([null, null, null])
    expect((await readProjectSettings(files))._unsafeUnwrapErr().message).toMatch(
      /\.retrai\.yml: it cannot be read: ".retrai.yml" is (?:not a regular file|a folder|outside the project|too large)/,
    )
  })
})

describe('.retrai.yml', () => {
  /** The size of the text after its first line. */
  const LIMIT = 64 * 1024 - 64
  const filled = (text: string) => text.repeat(Math.floor(LIMIT / text.length))
  const nine = (name: string) => `[${Array(9).fill(`*${name}`).join(',')}]`

  test.each([
    ['deep lists', filled('[')],
    ['deep mappings', filled('{a: ')],
    ['a lot that is wrong', filled(']')],
    ['many keys', Array.from({ length: 8_000 }, (_, key) => `k${key}:\n`).join('')],
    [
      'aliases of aliases',
      `a0: &a0 [x]\n${Array.from({ length: 30 }, (_, n) => `a${n + 1}: &a${n + 1} ${nine(`a${n}`)}\n`).join('')}`,
    ],
    ['an alias of itself', 'check_command: &a [*a]\n'],
  ])('with %s is refused, and not by this process', { timeout: 60_000 }, async (_, text) => {
    const cwd = await project({ '.retrai.yml': text })
    const settings = await readProjectSettings(workspaceOf(cwd))
    expect(settings._unsafeUnwrapErr().message).toMatch(/\.retrai\.yml: ./)
  })
})

test('a Makefile of the largest size is read quickly', { timeout: 10_000 }, async () => {
  const cwd = await project({ Makefile: `${'test '.repeat(200_000)}\n` })
  const makeTest = goals.find(({ name }) => name === 'make-test')
  expect(await makeTest?.detect?.(workspaceOf(cwd))).toBe(null)
})
