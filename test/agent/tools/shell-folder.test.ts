import { mkdir, rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { payloadsOf, Workshop } from '../support.ts'
import { projectWith } from './support.ts'

/** The shell of one run: each command starts where the last one ended. */
async function shellIn(...paths: string[]) {
  const { cwd, outside, run } = await projectWith(
    Object.fromEntries(paths.map((path) => [path, ''])),
  )
  let shellFolder: string | undefined
  const bash = async (command: string, args: Readonly<Record<string, string | number>> = {}) => {
    const context = shellFolder === undefined ? {} : { shellFolder }
    const result = await run('bash_exec', { command, ...args }, undefined, context)
    shellFolder = result.folder ?? shellFolder
    return result
  }
  /** Where the next command starts, as it prints it. */
  const next = async () => (await bash('pwd')).output.split('\n')[0]?.slice(cwd.length)
  return { cwd, outside, bash, next }
}

describe('a command', () => {
  test('starts where the last one ended, and its result says where that is', async () => {
    const { cwd, bash } = await shellIn('a/b/here')
    const first = await bash('cd a')
    expect(first).toMatchObject({ folder: 'a', output: '[the next command starts in "a"]' })
    const second = await bash('cd b && ls')
    const where = '[the next command starts in "a/b"]'
    expect(second).toMatchObject({ folder: 'a/b', output: `here\n${where}`, exit_code: 0 })
    expect(await bash('pwd')).toMatchObject({ folder: 'a/b', output: `${cwd}/a/b\n${where}` })
    expect(await bash('cd ../..')).toMatchObject({ folder: '.', output: '' })
    expect((await bash('pwd')).output).toBe(`${cwd}\n`)
  })

  test('that stays in the project has nothing to record', async () => {
    const { bash } = await shellIn('a/here')
    expect(await bash('(cd a); cd a && cd ..')).not.toHaveProperty('folder')
  })

  test('starts in the folder that its call names, and the next one where that one ended', async () => {
    const { bash, next } = await shellIn('a/x', 'b/c/x')
    await bash('cd a')
    expect((await bash('ls', { folder: 'b' })).output).toBe('c\n[the next command starts in "b"]')
    await bash('cd c')
    expect(await next()).toBe('/b/c')
    expect(await bash('true', { folder: 'missing' })).toMatchObject({ outcome: 'error' })
    expect(await next()).toBe('/b/c')
  })

  test.each([
    ['exit 3', { exit_code: 3, output: '' }],
    ['set -e; false; echo not', { exit_code: 1, output: '' }],
    [
      'set -eu; echo "$1"',
      { exit_code: 1, output: expect.stringMatching(/^bash: line 1: \$?1: unbound/) },
    ],
    ['set -o noclobber; set -x; : traced', { exit_code: 0, output: '++ : traced\n' }],
    ['trap "echo debug" DEBUG; true', { exit_code: 0, output: expect.stringMatching(/^debug\n/) }],
    ['echo "$# $0"; return 4 2>&-; (exit 5)', { exit_code: 5, output: '0 bash\n' }],
    ['env | grep -c retrai_', { exit_code: 1, output: '0\n' }],
    [
      '\nmissing-program',
      { exit_code: 127, output: expect.stringContaining('line 2: missing-program') },
    ],
    ['echo "', { exit_code: 2, output: expect.stringContaining('unexpected EOF') }],
    ['kill -9 $$', { exit_code: 137, output: '' }],
  ])('ends as it would without a report: %s', async (command, wanted) => {
    const { bash } = await shellIn()
    expect(await bash(command)).toMatchObject(wanted)
  })

  test('with errexit reports its folder too', async () => {
    const { bash, next } = await shellIn('a/x')
    await bash('set -eux; cd a; false')
    expect(await next()).toBe('/a')
  })

  test.each([
    ['a trap of its own', 'trap "echo bye" EXIT; cd b', 'bye\n'],
    ['exec', 'cd b; exec echo bye', 'bye\n'],
    ['a kill', 'cd b; kill -9 $$', ''],
    ['a time limit', 'cd b; sleep 1000', expect.stringMatching(/^\[stopped/)],
  ])('that ends with %s leaves the folder as it was', async (_, command, output) => {
    const { bash } = await shellIn('a/b/x')
    await bash('cd a')
    const result = await bash(command, { timeout_s: command.includes('sleep') ? 0.3 : 60 })
    expect(result.folder).toBe('a')
    const printed = result.output.replace(/\n?\[the next command starts in "a"\]$/, '')
    expect(printed === '' ? '' : `${printed}\n`).toEqual(output)
  })

  test('does not start if the folder is gone; the next one starts in the project', async () => {
    const { cwd, bash, next } = await shellIn('a/x')
    await bash('cd a')
    await rename(join(cwd, 'a'), join(cwd, 'b'))
    const gone = await bash('pwd')
    expect(gone).toMatchObject({ outcome: 'error', folder: '.' })
    expect(gone.output).toContain('"a" does not exist')
    expect(await next()).toBe('')
  })
})

describe('a command that is hostile', () => {
  test('cannot move the next one out of the project', async () => {
    const { bash, next, outside } = await shellIn('a/x')
    await bash('cd a')
    const result = await bash(`cd '${outside}'`)
    expect(result).toMatchObject({
      folder: '.',
      output: expect.stringMatching(/no folder of the project/),
    })
    expect(await next()).toBe('')
  })

  test('cannot replace the folder by a link that leads outside', async () => {
    const { cwd, outside, bash, next } = await shellIn('a/x')
    await bash('cd a')
    await rm(join(cwd, 'a'), { recursive: true })
    await symlink(outside, join(cwd, 'a'))
    expect(await bash('pwd')).toMatchObject({ outcome: 'error', folder: '.' })
    expect(await next()).toBe('')
  })

  test.each([
    ['huge', 'head -c 100000 /dev/zero | tr "\\0" / >&173'],
    ['no text', 'printf "/\\377\\n" >&173'],
    ['not absolute', 'echo b >&173'],
    ['empty', ': >&173'],
    ['that its program is not found', 'echo not_found >&173'],
    ['missing, because its descriptor is closed', 'exec 173>&-'],
  ])('has no effect with a report that is %s', async (_, odd) => {
    const { bash, next } = await shellIn('a/x', 'b/x')
    await bash('cd a')
    expect(await bash(`trap - EXIT; ${odd}`)).toMatchObject({ exit_code: 0 })
    expect(await next()).toBe('/a')
  })

  test('gets no further by a forged report than by cd', async () => {
    const { bash, next, outside } = await shellIn('a/x', 'file')
    for (const path of [outside, '/', '$PWD/file', '$PWD/missing', '$PWD/../data']) {
      const { output } = await bash(`trap - EXIT; echo "${path}" >&173`)
      expect(output).toMatch(/no folder of the project/)
      expect(await next()).toBe('')
    }
    await bash('trap - EXIT; echo "$PWD/a" >&173')
    expect(await next()).toBe('/a')
  })

  test('can use the descriptors of its choice, and its files get nothing of the report', async () => {
    const { bash, next } = await shellIn('a/x')
    await bash('exec 3>three 9>nine 200>many; cd a')
    expect(await next()).toBe('/a')
    expect((await bash('cat ../three ../nine ../many; ls ..')).output).toMatch(
      /^a\nmany\nnine\nthree\n/,
    )
  })

  test('can have a folder with any name', async () => {
    const { cwd, bash, next } = await shellIn()
    const name = `..o'd"d $(x) \n[new] é`
    await mkdir(join(cwd, name))
    expect((await bash('cd ..*')).folder).toBe(name)
    expect(await next()).toBe(`/${name.split('\n')[0]}`)
  })
})

test('another process continues a run in the folder where its last command ended', async () => {
  const calls = ['cd a/b', 'ls', 'pwd -P && cd ../.. && touch done'].map((command) => ({
    calls: [{ tool: 'bash_exec', args: { command } }],
  }))
  await using shop = await Workshop.open([...calls, { text: 'Done.' }])
  await shop.file('a/b/here', '')
  const records = await shop.restarted('tool_result', { max_turns_per_iteration: 9 })
  const where = '[the next command starts in "a/b"]'
  expect(payloadsOf(records, 'tool_result')).toMatchObject([
    { folder: 'a/b', output: where },
    { folder: 'a/b', output: `here\n${where}` },
    { folder: '.', output: expect.stringMatching(/\/project\/a\/b\n$/) },
  ])
  // The model reads where it is, and the goal is checked in the project.
  expect(JSON.stringify(shop.requests[1])).toContain('the next command starts in')
  expect(records.at(-1)?.payload).toMatchObject({ achieved: true })
})
