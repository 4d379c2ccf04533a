import { describe, expect, test } from 'vitest'
import { Acceptance, MOST_BYTES, MOST_FILES } from '../../src/domain/acceptance.ts'

const check = (files: Readonly<Record<string, string>>, command = 'bash accept.sh') =>
  Acceptance.safeParse({ files, command })
const problemsOf = (files: Readonly<Record<string, string>>) =>
  check(files).error?.issues.map(({ path, message }) => [path.join('|'), message]) ?? []

describe('a file of a hidden check', () => {
  test.each([
    'accept.sh',
    'tests/hidden/test_it.py',
    '.github/workflows/ci.yml',
    '.gitignore',
    'a b/ü\n.txt',
    '..a/...',
    `${'x'.repeat(255)}/y`,
    'constructor',
  ])('may have the path %j', (path) => {
    expect(check({ [path]: 'x\0\n' }).success).toBe(true)
  })

  test.each([
    '',
    '/etc/passwd',
    '/',
    '..',
    '../outside',
    'a/../../b',
    'a/./b',
    './a',
    'a//b',
    'a/',
    '.git',
    '.git/hooks/pre-commit',
    'sub/.GIT/config',
    'a\0b',
    'x'.repeat(256),
    'ü'.repeat(128),
    `${'abcdefg/'.repeat(128)}h`,
  ])('must not have the path %j', (path) => {
    const [problem, ...others] = problemsOf({ 'good.txt': '', [path]: 'content' })
    expect(others).toEqual([])
    expect(problem).toEqual([`files|${path}`, expect.stringMatching(/^must be a path/)])
    expect(problem?.join()).not.toContain('content')
  })

  test('is not in a folder that is a file, too', () => {
    expect(problemsOf({ 'a/b': '', 'a/b/c/d': '', 'a/bc': '' })).toEqual([
      ['files|a/b/c/d', 'is in a/b, which is a file'],
    ])
  })
})

test('a hidden check has at most so many files and bytes, and a command', () => {
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, '']))
  expect(check(many(MOST_FILES)).success).toBe(true)
  const tooMany = ['files', 'must be at most 200 files, of 4 MiB together']
  expect(problemsOf(many(MOST_FILES + 1))).toEqual([tooMany])
  const half = 'ü'.repeat(MOST_BYTES / 4)
  expect(check({ a: half, b: half }).success).toBe(true)
  expect(problemsOf({ a: half, b: half, c: 'x' })).toEqual([tooMany])
  expect(check({}, 'true').success).toBe(true)
  expect(check({}, ' ').success).toBe(false)
  expect(check({}, 'x'.repeat(10_001)).success).toBe(false)
})
