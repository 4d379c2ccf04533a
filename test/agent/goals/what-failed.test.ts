import { describe, expect, test } from 'vitest'
import { failureDetails, knownFailures, whatFailed } from '../../../src/agent/goals/what-failed.ts'
import { fixture } from './support.ts'

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
const ESLINT = `
/home/sam/project/a.js
  1:7  error    'x' is assigned a value but never used  no-unused-vars
  2:1  warning  Unexpected console statement            no-console
  3:1  error    'y' is not defined                      no-undef

✖ 3 problems (2 errors, 1 warning)
`

const BIOME = `src/sum.ts:1:29 lint/suspicious/noExplicitAny ━━━━━━━━━━

  ! Unexpected any. Specify a different type.
  
src/sum.ts:4:8 lint/correctness/noInnerDeclarations  FIXABLE  ━━━━━━━━━━

  × This var should be declared at the root of the enclosing function.
  
src/sum.ts format ━━━━━━━━━━

  × Formatter would have printed the following content:
  
Found 2 errors.
Found 1 warning.
check ━━━━━━━━━━

  × Some errors were emitted while running checks.
`

const THROWN = `file:///home/sam/a.mjs:3
  return JSON.parse(readFileSync(name, 'utf8')).value.x
                                                     ^

TypeError: Cannot read properties of undefined (reading 'x')
    at get (file:///home/sam/node_modules/dep/index.js:9:5)
    at load (file:///home/sam/a.mjs:3:54)
    at ModuleJob.run (node:internal/modules/esm/module_job:561:25)

Node.js v24.21.0
`
const SYNTAX = `/home/sam/b.cjs:1
const a = 1; foo bar
                 ^^^

SyntaxError: Unexpected identifier 'bar'
    at wrapSafe (node:internal/modules/cjs/loader:1861:18)
    at node:internal/main/run_main_module:33:47

Node.js v24.21.0
`

describe('the first error with its place, and the names of failed tests, are found in the output of', () => {
  test.each([
    ['gcc', GCC, "sum.c:3:12: error: 'c' undeclared (first use in this function)"],
    [
      'node, if an error ends it',
      THROWN,
      "/home/sam/a.mjs:3:54: TypeError: Cannot read properties of undefined (reading 'x')",
    ],
    [
      'node, if a file is not JavaScript',
      SYNTAX,
      "/home/sam/b.cjs:1: SyntaxError: Unexpected identifier 'bar'",
    ],
    [
      'biome',
      BIOME,
      'src/sum.ts:4:8: This var should be declared at the root of the enclosing function. (lint/correctness/noInnerDeclarations) (and 1 more)',
    ],
    [
      'gcc without a header',
      'a.c:1:10: fatal error: x.h: No such file or directory\n',
      'a.c:1:10: fatal error: x.h: No such file or directory',
    ],
    [
      'a linker',
      "/usr/bin/ld: a.o: in function `main':\na.c:(.text+0x5): undefined reference to `sum'\n",
      "a.c:(.text+0x5): undefined reference to `sum'",
    ],
    [
      'assert',
      "t: test.c:12: main: Assertion `sum(1, 2) == 3' failed.\nAborted\n",
      "t: test.c:12: main: Assertion `sum(1, 2) == 3' failed.",
    ],
    [
      'the tests of Node',
      '✖ adds (1.4ms)\nℹ fail 1\n✖ failing tests:\n✖ adds (1.4ms)\n',
      'failing: adds',
    ],
    ['vitest', ' ❯ f.test.js (1 test | 1 failed) 11ms\n   × adds 9ms\n', 'failing: adds'],
    [
      'npx without a network',
      'npm error code EAI_AGAIN\nnpm error request to https://r/c8 failed, reason: no\n',
      'npm error request to https://r/c8 failed, reason: no',
    ],
    [
      'Python without the module',
      '/usr/bin/python3: No module named coverage\n',
      '/usr/bin/python3: No module named coverage',
    ],
    [
      'tsc',
      "src/a.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.\n",
      "src/a.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.",
    ],
    [
      'tsc for a terminal',
      '\u001b[96msrc/a.ts\u001b[0m:3:5 - \u001b[91merror\u001b[0m TS2322: No.\n',
      'src/a.ts:3:5 - error TS2322: No.',
    ],
    [
      'mypy',
      'a.py:3: error: Name "x" is not defined  [name-defined]\nFound 1 error\n',
      'a.py:3: error: Name "x" is not defined [name-defined]',
    ],
    [
      'go build',
      '# example.com/sums\n./sum.go:3:29: undefined: c\n',
      './sum.go:3:29: undefined: c',
    ],
    [
      'flake8',
      "./a.py:1:1: F401 'os' imported but unused\n./a.py:3:1: E999 no\n",
      "./a.py:1:1: F401 'os' imported but unused (and 1 more)",
    ],
    [
      'ruff',
      'F401 [*] `os` imported but unused\n --> a.py:1:8\n  |\n',
      'a.py:1:8: F401 [*] `os` imported but unused',
    ],
    ['rustc', RUSTC, 'src/lib.rs:2:9: error[E0425]: cannot find value `c` in this scope'],
    [
      'eslint',
      ESLINT,
      "/home/sam/project/a.js:1:7: 'x' is assigned a value but never used no-unused-vars (and 1 more)",
    ],
    [
      'go test',
      '--- FAIL: TestSum (0.00s)\n    --- FAIL: TestSum/none (0.00s)\n        sum_test.go:7: got 1\nFAIL\tsums\t0.1s\n',
      'failing: TestSum/none',
    ],
    [
      'GoogleTest',
      '[  FAILED  ] Sum.OfNone (0 ms)\n[  FAILED  ] 1 test, listed below:\n[  FAILED  ] Sum.OfNone\n',
      'failing: Sum.OfNone',
    ],
    [
      'ctest',
      'The following tests FAILED:\n\t  2 - sums (Failed)\nErrors while running CTest\n',
      'failing: sums',
    ],
    ['TAP', 'ok 1 - one\nnot ok 2 - two\nnot ok 3 - later # TODO\n', 'failing: two'],
    [
      'unittest',
      '======\nFAIL: test_sum (test_a.Sums.test_sum)\n------\n',
      'failing: test_sum (test_a.Sums.test_sum)',
    ],
    [
      'a program of the project',
      'PASS sum_of_one\nFAIL sum_of_none\nok: a\nFAIL: b: got 1\n',
      'failing: sum_of_none, b: got 1',
    ],
  ])('%s', (_tool, output, known) => {
    expect(knownFailures(output)).toBe(known)
  })

  test('nothing is found in output of what succeeded or only warned', async () => {
    const outputs = [
      '12:30:05: error 7\n',
      'a.c:1:2: warning: unused\n',
      'see http://x.test:80:1: y\n',
    ]
    expect(outputs.map(knownFailures)).toEqual(['', '', ''])
    expect(whatFailed('sums are off\nmake: *** Error 1\n', /^make/)).toBe('sums are off')
  })

  test('a lot of strange output is read quickly', () => {
    const odd = ['a'.repeat(5_000), 'a:1'.repeat(2_000), '  1:1  error  x', ' '.repeat(5_000)]
    expect(knownFailures(`${odd.join('\n')}\n`.repeat(500))).not.toBe('')
  }, 5_000)
})

test('the details contain the first error, even if it was printed long before the end', async () => {
  const details = failureDetails(
    `${GCC}${'make[1]: nothing of interest\n'.repeat(1_000)}last words\n`,
  )
  expect(details).toMatch(/^sum\.c:3:12: error: 'c' undeclared.*\n {4}3 \| {3}return a\+c;/)
  expect(details).toMatch(/\[…\][\s\S]*last words$/)
  expect(details.length).toBeLessThan(4_200)
  const whole = await fixture('go-test.jsonl')
  expect(failureDetails('one\ntwo\n')).toBe('one\ntwo')
  expect(failureDetails(whole).length).toBeLessThan(4_200)
})

test('an error that a program caught and printed is not taken for the one that ended it', () => {
  expect(knownFailures('TypeError: x is not a function\n    at f (/home/sam/a.js:1:2)\nok\n')).toBe(
    '',
  )
})
