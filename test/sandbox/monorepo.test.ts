import { execFile } from 'node:child_process'
import { chmod, lstat, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { repositoryAround } from '../../src/sandbox/project-folder.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'
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

async function monorepo(level: 'namespaces' | 'landlock', owner: number | null, mode: number) {
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
  await chmod(root, mode)
  const project = join(root, 'packages/app')
  const { isolation, bash } = await isolated(level, { base })
  return { root, project, isolation, bash: (script: string) => bash(script, { cwd: project }) }
}

const isRoot = process.getuid?.() === 0
const CASES = [
  ['namespaces', null, 0o700],
  ['namespaces', 1500, 0o700],
  ['landlock', null, 0o700],
  ['landlock', 1500, 0o755],
] as const

test.for(CASES)(
  'a package of a repository finds what it shares with the others (level %s, owner %s, mode %s)',
  async ([level, owner, mode], { skip }) => {
    skip(isMissing('git') || isMissing(level === 'landlock' ? 'landlock' : 'bwrap'), 'missing here')
    skip(owner !== null && !isRoot, 'only root can give a repository to somebody')
    const { root, project, bash, isolation } = await monorepo(level, owner, mode)
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
