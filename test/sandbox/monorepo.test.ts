import { execFile } from 'node:child_process'
import { chmod, lstat, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { Level } from '../../src/domain/isolation.ts'
import { repositoryAround } from '../../src/sandbox/project-folder.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'
import { LEVELS } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'

const FILES = {
  '.env': 'TOKEN=hidden-of-root',
  'packages/.env.local': 'TOKEN=hidden-of-packages',
  '.gitignore': 'node_modules\n.env*\n',
  'node_modules/shared/index.js': 'module.exports = "shared works"',
  'packages/lib/index.js': 'module.exports = "the sibling works"',
  'packages/app/check.js':
    'console.log(require("shared")); console.log(require("../lib/index.js"))',
}

async function monorepo(level: Level, owner: number | null) {
  const base = await temporaryFolder()
  await chmod(base, 0o711)
  const root = join(base, 'repo')
  for (const [name, text] of Object.entries(FILES)) {
    await mkdir(join(root, name, '..'), { recursive: true })
    await writeFile(join(root, name), text)
  }
  const git = 'git -c user.name=a -c user.email=a@b'
  const make = `cd "$1" && git init -q && git add . && ${git} commit -qm first && ${owner === null ? ':' : `chown -R ${owner}:${owner} .`}`
  await promisify(execFile)('bash', ['-c', make, 'bash', root])
  // At the level landlock, another user reaches the project by its path.
  await chmod(root, level === 'landlock' && owner !== null ? 0o755 : 0o700)
  const project = join(root, 'packages/app')
  const { isolation, bash } = await isolated(level, { base })
  return { root, project, isolation, bash: (script: string) => bash(script, { cwd: project }) }
}

test.skipIf(isMissing('git')).for(LEVELS.filter(([, level]) => level !== 'none'))(
  'a package of a repository finds what it shares with the others (level %s)',
  async ([, level, owner]) => {
    const { root, project, bash, isolation } = await monorepo(level, owner)
    expect(isolation.level).toBe(level)
    const checked = await bash('node check.js && git log --format=%s && git status --short')
    expect(checked.output).toBe('shared works\nthe sibling works\nfirst\n')
    const { output } = await bash(
      'cat ../../.env ../.env.local; touch ../lib/made ../../.git/made; echo x >>../lib/index.js',
    )
    expect(output).not.toContain('hidden-of')
    expect(await readdir(join(root, 'packages/lib'))).toEqual(['index.js'])
    expect(await readdir(join(root, '.git'))).not.toContain('made')
    expect((await lstat(join(root, 'packages/lib/index.js'))).size).toBe(
      FILES['packages/lib/index.js'].length,
    )
    await bash('echo made >made')
    expect(await readdir(project)).toContain('made')
    const { visible } = isolation.factsFor(project, 'none')
    expect(visible).toEqual(expect.arrayContaining(['repository', 'whole repository']))
  },
)

test('a repository with a folder of the server in its .git is not shown', async () => {
  const root = await temporaryFolder()
  const [project, data] = [join(root, 'packages/app'), join(root, '.git/data')]
  for (const path of [project, data]) await mkdir(path, { recursive: true })
  expect(repositoryAround(project, { userHome: '', hidden: [data] })).toBeNull()
  const without = repositoryAround(project, { userHome: '', hidden: [] })
  expect(without?.paths).toEqual([join(root, '.git')])
})
