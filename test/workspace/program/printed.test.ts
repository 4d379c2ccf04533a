import { describe, expect, test } from 'vitest'
import { knownFailures } from '../../../src/checks/run-check.ts'
import { readPrinted } from '../../../src/workspace/program/printed.ts'
import { fixture } from '../../checks/support.ts'

const numbers = (output: string) => {
  const { counts } = readPrinted(output)
  if (counts === null) return null
  const { passed, failed, skipped, expectedFailures } = counts
  return [passed, failed, skipped, expectedFailures]
}

const namesIn = (output: string) => readPrinted(output).failures

describe('the names of the tests that ran', () => {
  const testsOf = (output: string) => readPrinted(output).tests

  test('are known if those that passed are named, too', async () => {
    expect(testsOf(await fixture('pytest.txt'))).toBeNull()
    expect(
      testsOf(
        'PASSED a.py::test_a[x - y]\nXPASS a.py::test_b - bug\nFAILED b.py::T::test_c - assert 1\nERROR c.py\nSKIPPED [1] a.py:3: no',
      ),
    ).toEqual(['a.py::test_a[x', 'a.py::test_b', 'b.py::T::test_c', 'c.py'])
    expect(testsOf('FAILED a.py::test_a - x\n1 failed in 0.1s')).toBeNull()
    expect(testsOf(await fixture('vitest.txt'))).toBeNull()
  })

  test('of go are those of its packages, without subtests', () => {
    const of = (name: string, end: string) =>
      `=== RUN   TestA\n--- PASS: TestA (0.00s)\n    --- PASS: TestA/x (0.00s)\n--- FAIL: Test${name} (0.1s)\n--- SKIP: TestS (0s)\nFAIL\n${end}\n`
    expect(testsOf(of('B', 'FAIL\tx.org/a\t0.1s') + of('C', 'ok  \tx.org/b\t0.1s'))).toEqual([
      'x.org/a.TestA',
      'x.org/a.TestB',
      'x.org/b.TestA',
      'x.org/b.TestC',
    ])
  })

  test('of cargo are without their lines', () => {
    expect(
      testsOf(
        'test tests::a ... ok\ntest tests::b - should panic ... ok\ntest src/lib.rs - add (line 5) ... FAILED\ntest c ... ignored\n',
      ),
    ).toEqual(['tests::a', 'tests::b', 'src/lib.rs - add'])
  })

  test('are left out if they are too many, or too long', () => {
    const passed = (count: number, length: number) =>
      Array.from({ length: count }, (_, at) => `PASSED a.py::${String(at).padStart(length, 'x')}\n`)
    expect(testsOf(passed(20_000, 6).join(''))).toHaveLength(20_000)
    expect(testsOf(passed(20_001, 6).join(''))).toBeNull()
    expect(testsOf(passed(2_000, 900).join(''))).toBeNull()
  })
})

describe('the totals that test runners print', () => {
  test.each([
    ['node-spec.txt', [2, 3, 2, 0], ['bad', 'inner bad', 'b.test.mjs']],
    ['vitest.txt', [1, 1, 1, 1], ['a.test.ts > s > bad']],
    ['jest.txt', [1, 1, 2, 0], ['s › bad']],
    ['go-test.txt', [4, 3, 1, 0], ['TestBad/two_words', 'TestParent', 'TestPanic']],
    ['mocha.txt', [1, 1, 1, 0], []],
    ['bun-test.txt', [4, 2, 2, 0], ['bad <one>', 'grp > bad2']],
    [
      'cargo-test.stdout.txt',
      [1, 3, 1, 0],
      ['tests::sp', 'tests::bad', 'src/lib.rs - add (line 1)'],
    ],
  ])('%s', async (name, counts, names) => {
    const output = await fixture(name)
    expect(numbers(output)).toEqual(counts)
    expect(namesIn(output)).toEqual(names)
  })

  test('in pytest.txt count errors as failures', async () => {
    const output = await fixture('pytest.txt')
    expect(numbers(output)).toEqual([3, 8, 1, 1])
    expect(namesIn(output)[0]).toBe('tests/test_a.py::test_bad')
  })

  test('of several runners in one output are added up', async () => {
    const both = `${await fixture('vitest.txt')}\n${await fixture('mocha.txt')}`
    expect(numbers(both)).toEqual([2, 2, 2, 1])
  })

  test.each([
    ['node', 'ℹ tests 0\nℹ pass 0\nℹ fail 0\n'],
    ['vitest', ' Test Files  1 passed (1)\n      Tests  no tests\n'],
    ['pytest', '\nno tests ran in 0.01s\n'],
  ])('of %s are zero without tests, not unknown', (_runner, output) => {
    expect(numbers(output)).toEqual([0, 0, 0, 0])
  })

  test('are found quickly in a lot of strange output', () => {
    const odd = 'not ok 1 - a\n ---\n  failureType: x\n'.repeat(25_000)
    expect(numbers(`${odd}\n# pass 1\n# fail 2\n`)).toEqual([1, 2, 0, 0])
  }, 5_000)

  test('are not seen in similar words', () => {
    expect(numbers('I ran 3 tests and 2 failed, 1 passed\nTests pass 7 of 8\n')).toBeNull()
  })
})

const known = (output: string) => knownFailures(readPrinted(output))

const GCC = `cc -Wall   -c -o sum.o sum.c
In file included from sum.c:1:
sum.h:2:5: note: declared here
sum.c: In function 'sum':
sum.c:3:12: error: 'c' undeclared (first use in this function)
    3 |   return a+c;
      |            ^
sum.c:4:1: warning: control reaches end of non-void function [-Wreturn-type]
make: *** [<builtin>: sum.o] Error 1
`
const RUSTC = `error[E0425]: cannot find value \`c\` in this scope
 --> src/lib.rs:2:9
  |
2 |     a + c
  |         ^ help: a local variable with a similar name exists: \`a\`

error: could not compile \`sums\` (lib) due to 1 previous error
`
describe('the first error with its place, and the names of failed tests, are found in the output of', () => {
  const OUTPUTS: Readonly<Record<string, readonly [output: string, found: string]>> = {
    gcc: [GCC, "sum.c:3:12: error: 'c' undeclared (first use in this function)"],
    'a linker': [
      "/usr/bin/ld: a.o: in function `main':\na.c:(.text+0x5): undefined reference to `sum'\n",
      "a.c:(.text+0x5): undefined reference to `sum'",
    ],
    'the tests of Node': [
      '✖ adds (1.4ms)\nℹ fail 1\n✖ failing tests:\n✖ adds (1.4ms)\n',
      'failing: adds',
    ],
    pyright: [
      '/srv/a.py\n  /srv/a.py:1:10 - error: Type "int" is not assignable (reportX)\n1 error, 0 warnings, 0 informations\n',
      '/srv/a.py:1:10 - error: Type "int" is not assignable (reportX)',
    ],
    vitest: [' ❯ f.test.js (1 test | 1 failed) 11ms\n   × adds 9ms\n', 'failing: adds'],
    'tsc for a terminal': [
      '\u001b[96msrc/a.ts\u001b[0m:3:5 - \u001b[91merror\u001b[0m TS2322: No.\n',
      'src/a.ts:3:5 - error TS2322: No.',
    ],
    mypy: [
      'a.py:3: error: Name "x" is not defined  [name-defined]\nFound 1 error\n',
      'a.py:3: error: Name "x" is not defined [name-defined]',
    ],
    'go build': [
      '# example.com/sums\n./sum.go:3:29: undefined: c\n',
      './sum.go:3:29: undefined: c',
    ],
    flake8: [
      "./a.py:1:1: F401 'os' imported but unused\n./a.py:3:1: E999 no\n",
      "./a.py:1:1: F401 'os' imported but unused (and 1 more)",
    ],
    ruff: [
      'F401 [*] `os` imported but unused\n --> a.py:1:8\n  |\n',
      'a.py:1:8: F401 [*] `os` imported but unused',
    ],
    rustc: [RUSTC, 'src/lib.rs:2:9: error[E0425]: cannot find value `c` in this scope'],
    'go test': [
      '--- FAIL: TestSum (0.00s)\n    --- FAIL: TestSum/none (0.00s)\n        sum_test.go:7: got 1\nFAIL\tsums\t0.1s\n',
      'failing: TestSum/none',
    ],
    GoogleTest: [
      '[  FAILED  ] Sum.OfNone (0 ms)\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] Sum.OfNone\n',
      'failing: Sum.OfNone',
    ],
    ctest: [
      'The following tests FAILED:\n\t  2 - sums (Failed)\nErrors while running CTest\n',
      'failing: sums',
    ],
    TAP: [
      '1..4\nok 1 - one\nnot ok 2 - two # time=1.2ms\nnot ok three\nnot ok 4 - later # todo\n',
      'failing: two, three',
    ],
    'what only looks like TAP': ['not ok 3 of the files\n', ''],
    unittest: [
      '======\nFAIL: test_sum (test_a.Sums.test_sum)\n------\n',
      'failing: test_sum (test_a.Sums.test_sum)',
    ],
    'a program of the project': [
      'PASS sum_of_one\nFAIL sum_of_none\nok: a\nFAIL: b: got 1\n',
      'failing: sum_of_none, b: got 1',
    ],
  }
  test.each(Object.entries(OUTPUTS))('%s', (_tool, [output, expected]) => {
    expect(known(output)).toBe(expected)
  })

  test.each([
    'a.c:1:10: fatal error: x.h: No such file or directory',
    "t: test.c:12: main: Assertion `sum(1, 2) == 3' failed.",
    'npm error request to https://r/c8 failed, reason: no',
    '/usr/bin/python3: No module named coverage',
    "src/a.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.",
  ])('what prints "%s"', (line) => {
    expect(known(`npm error code EAI_AGAIN\n${line}\nAborted\n`)).toBe(line)
  })

  test('nothing is found in output of what succeeded or only warned', async () => {
    const outputs = [
      '12:30:05: error 7\n',
      'a.c:1:2: warning: unused\n',
      'see http://x.test:80:1: y\n',
    ]
    expect(outputs.map(known)).toEqual(['', '', ''])
  })

  test('a lot of strange output is read quickly', () => {
    const odd = ['a'.repeat(5_000), 'a:1'.repeat(2_000), 'a.c:1:1: error: x', ' '.repeat(5_000)]
    expect(known(`${odd.join('\n')}\n`.repeat(500))).not.toBe('')
  }, 5_000)
})
