import { spawnSync } from 'node:child_process'
import { mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { writeFiles } from '../../runner/support.ts'
import { isMissing } from '../../support/missing.ts'
import { openWorkspace } from '../../workspace/support.ts'
import { projectWith } from './support.ts'

type Files = Readonly<Record<string, string>>
type Args = Readonly<Record<string, string | boolean>>

/** Names that rules and trees are made of, so that rules match often. */
const NAMES = ['a', 'b', '.c', 'd.log', '[id]', 'e f', 'build', '.ignored']
const name = fc.constantFrom(...NAMES)
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
const piece = fc.constantFrom(...NAMES, '*', '**', '*.log', '?', '.*', 'b*', '[ab]', '\\[id\\]')
const rule = fc
  .tuple(
    fc.constantFrom('', '', '!'),
    fc.constantFrom('', '', '/'),
    fc.array(piece, { minLength: 1, maxLength: 3 }),
    fc.constantFrom('', '', '/'),
  )
  .map(([negated, start, pieces, end]) => negated + start + pieces.join('/') + end)
const rules = fc.array(rule, { maxLength: 5 }).map((lines) => `# rules\n${lines.join('\n')}\n`)
const RULE_FILES = ['.gitignore', 'a/.gitignore', 'a/b/.gitignore', '[id]/.gitignore']
const tree = fc.record({
  paths: fc.uniqueArray(path, { minLength: 5, maxLength: 30 }),
  rules: fc.dictionary(fc.constantFrom(...RULE_FILES), rules),
  nested: fc.boolean(),
  searched: fc.constantFrom('.', '.', 'a', 'a/b', 'build'),
})

/** A tree in which no path is both a file and a folder. */
function filesOf({ paths, rules: ruleFiles, nested }: Omit<Tree, 'searched'>): Files {
  const always = ['a/b/z', 'build/z']
  const others = { ...(nested && { 'a/.git/HEAD': '' }), ...ruleFiles, '.git/HEAD': '' }
  const all = [...paths, ...always, ...Object.keys(others)]
  const isFolder = (one: string) => all.some((other) => other.startsWith(`${one}/`))
  const files = [...paths.filter((one) => !isFolder(one)), ...always]
  return { ...Object.fromEntries(files.map((one) => [one, 'needle\n'])), ...others }
}
type Tree = typeof tree extends fc.Arbitrary<infer Value> ? Value : never

/** What ripgrep lists. It must not obey rules of the user or of folders above the project. */
function ripgrep(cwd: string, ...options: readonly string[]): string[] {
  const only = ['--no-ignore-global', '--no-ignore-exclude', '--no-ignore-dot']
  const args = ['--files', '--no-config', ...only, '--glob=!.git', ...options]
  const { stdout, status, stderr } = spawnSync('rg', args, { cwd, encoding: 'utf8' })
  expect([0, 1], stderr).toContain(status)
  return stdout.split('\n').filter(Boolean).sort()
}

/** The same trees each time: versions of ripgrep differ in rare patterns. */
const SEED = 14

const SCOPES = [
  [{}, []],
  [{ hidden: true }, ['--hidden']],
  [{ ignored: true }, ['--no-ignore']],
] as const

test.skipIf(isMissing('rg'))(
  'in any tree, find_files and grep_search see the same files as ripgrep',
  { timeout: 120_000 },
  async () => {
    const project = await projectWith()
    await fc.assert(
      fc.asyncProperty(tree, async ({ searched, ...made }) => {
        const cwd = await mkdtemp(join(project.cwd, 'tree-'))
        await writeFiles(cwd, filesOf(made))
        await using workspace = openWorkspace({ cwd })
        const call = async (tool: string, args: Args) => {
          const call = { call_id: '1', tool, args, read_only: true }
          const { output, outcome } = await project.execute(call, { cwd, workspace })
          expect(outcome).toBe('ok')
          return /^No\w* /.test(output) ? [] : output.split('\n').filter(Boolean)
        }
        for (const [scope, options] of SCOPES) {
          const all = ripgrep(cwd, ...options)
          expect(await call('find_files', { pattern: '**/*', ...scope })).toEqual(all)
          const grep = { pattern: 'needle', output: 'files', path: searched, ...scope }
          const found = (await call('grep_search', grep)).map((one) => one.replace(/^\.\//, ''))
          const listed = all.filter((one) => !/(?:^|\/)\.gitignore$/.test(one))
          const expected = listed.filter(
            (one) => searched === '.' || one.startsWith(`${searched}/`),
          )
          // If the folder itself is ignored, searches of it cannot be compared. In a folder, ripgrep 14 misreads the rules of the folders above.
          if (expected.length > 0) expect(found.sort()).toEqual(expected.sort())
        }
      }),
      { numRuns: 12, seed: SEED, interruptAfterTimeLimit: 60_000 },
    )
  },
)

describe('a search', () => {
  const FILES = {
    '.git/HEAD': 'total\n',
    '.gitignore': 'out/\n*.log\n!keep.log\n!.github/\n',
    '.github/ci.yml': 'total\n',
    '.env': 'total\n',
    'out/a.js': 'total\n',
    'x.log': 'total\n',
    'keep.log': 'total\n',
    'src/.gitignore': '/out\n',
    'src/out': 'total\n',
    'src/a.ts': 'total\n',
  }
  const all = (pattern = '*'): Args => ({ pattern })

  test.each([
    [{}, '.github/ci.yml\nkeep.log\nsrc/a.ts'],
    [{ hidden: true }, '.env\n.github/ci.yml\n.gitignore\nkeep.log\nsrc/.gitignore\nsrc/a.ts'],
    [{ ignored: true }, 'keep.log\nout/a.js\nsrc/a.ts\nsrc/out\nx.log'],
  ])('with %j sees these files', async (scope, files) => {
    const { run } = await projectWith(FILES)
    expect((await run('find_files', { ...all(), ...scope })).output).toBe(files)
    const { output } = await run('grep_search', { pattern: 'total', output: 'files', ...scope })
    const withLines = files.split('\n').filter((file) => !file.endsWith('.gitignore'))
    expect(output.trim().split('\n').sort()).toEqual(withLines.map((file) => `./${file}`))
  })

  test('in an ignored folder sees its files', async () => {
    const { run } = await projectWith(FILES)
    const result = await run('grep_search', { pattern: 'total', path: 'out' })
    expect(result.output).toBe('out/a.js:1:total\n')
  })

  test('obeys the rules of the repository around the project', async () => {
    const { cwd, runIn } = await projectWith({ ...FILES, 'src/b.log': '' })
    const { output } = await runIn(join(cwd, 'src'), 'find_files', all('*.{log,ts}'))
    expect(output).toBe('a.ts')
  })

  test('obeys no rules that a link leads to, and none that are too large', async () => {
    const { cwd, outside, run } = await projectWith({
      'a.txt': '',
      'big/.gitignore': '*.txt\n'.repeat(20_000),
      'big/b.txt': '',
    })
    await writeFile(join(outside, 'rules'), '*.txt\n')
    await symlink(join(outside, 'rules'), join(cwd, '.gitignore'))
    expect((await run('find_files', all('*.txt'))).output).toBe('a.txt\nbig/b.txt')
  })

  test('of a tree deeper than the longest path reports what it could not open', async () => {
    const { run } = await projectWith({ 'a.txt': 'total\n' })
    const inside = `for level in {1..30}; do mkdir ${'d'.repeat(200)} && cd ${'d'.repeat(200)}; done`
    await run('bash_exec', { command: inside })
    const { output } = await run('grep_search', { pattern: 'total' })
    expect(output).toBe('./a.txt:1:total\n[1 files or folders could not be opened]\n')
    expect((await run('find_files', all())).output).toBe('a.txt')
    await run('bash_exec', { command: 'rm -r d*' })
  })

  test('of more files than it opens at once finds what is in the last one', async () => {
    const files = Array.from({ length: 1000 }, (_, n) => [`f${n}`, `total ${n}\n`] as const)
    const { run } = await projectWith(Object.fromEntries(files))
    const { output } = await run('grep_search', { pattern: '99$', output: 'counts' })
    const found = output.trim().split('\n').sort()
    expect(found).toEqual(Array.from({ length: 10 }, (_, n) => `./f${n === 0 ? '' : n}99:1`).sort())
  })
})
