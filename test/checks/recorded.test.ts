import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Verdict } from '../../src/domain/verdict.ts'
import { isMissing } from '../support/missing.ts'
import { openWorkspace } from '../workspace/support.ts'
import { check, programs, project, withPrograms } from './support.ts'

/** Reads what the programs print. */
const files = openWorkspace({ cwd: '/' })
afterAll(() => files[Symbol.asyncDispose]())

/** A script that prints the recorded output of a real program. */
const printing = (name: string): string => `cat "${join(import.meta.dirname, 'fixtures', name)}"`

const PYRIGHT = `/srv/a.py
  /srv/a.py:1:10 - error: Type "Literal['x']" is not assignable to declared type "int" (reportAssignmentType)
1 error, 0 warnings, 0 informations`
const CLEAN = 'echo "0 errors, 2 warnings, 0 informations"; echo "Total files checked: 3"'
const PASSED = 'echo "--- PASS: TestA (0.00s)"; echo "--- SKIP: TestB (0.00s)"'

/** What a program in the place of the real one does, and what the goal finds. */
const ROWS: readonly [string, string, Verdict, string | RegExp, details?: string[]][] = [
  [
    'bun-test',
    `${printing('bun-test.txt')}; exit 1`,
    'not_achieved',
    '2 of 6 tests failing: bad <one>, grp > bad2; 2 skipped',
    ['Expected: 2\nReceived: 1', 'boom & co'],
  ],
  ['bun-test', printing('bun-test.txt'), 'not_achieved', /bun test hides this with exit code 0/],
  [
    'pyright',
    `cat <<'END'\n${PYRIGHT}\nEND\nexit 1`,
    'not_achieved',
    /^pyright ended with exit code 1: \/srv\/a\.py:1:10 - error: Type "Literal/,
    ['(reportAssignmentType)'],
  ],
  ['pyright', CLEAN, 'achieved', 'pyright found nothing'],
  [
    'pyright',
    `${CLEAN}; echo 'Config file could not be parsed' >&2; exit 3`,
    'not_achieved',
    /^pyright ended with exit code 3: Config file could not/,
  ],
  [
    'go-test',
    `${printing('go-test.txt')}; exit 1`,
    'not_achieved',
    '3 of 7 tests failing: TestBad/two_words, TestParent, TestPanic; 1 skipped',
    ['b/b_test.go:3:28: undefined: undefined', 'assignment to entry in nil map'],
  ],
  [
    'go-test',
    `${PASSED}; echo 'b/b_test.go:3:28: undefined: c' >&2; exit 1`,
    'not_achieved',
    '1 test passed, 1 skipped, but go test ended with exit code 1: b/b_test.go:3:28: undefined: c',
  ],
  [
    'go-test',
    `${PASSED}; echo 'panic: test timed out after 10m0s'; exit 2`,
    'not_achieved',
    /^1 test passed, .* timed out/,
  ],
  ['go-test', "echo '?   p [no test files]'", 'not_achieved', /^No test was run: go looks for/],
  ['go-test', 'echo "--- SKIP: TestB (0.00s)"', 'not_achieved', 'No test passed: 1 skipped'],
  [
    'go-test',
    "echo 'go: go.mod file not found' >&2; exit 1",
    'not_achieved',
    /^No test was run: go test ended .*go\.mod/,
  ],
  [
    'cargo-test',
    `${printing('cargo-test.stdout.txt')}; ${printing('cargo-test.stderr.txt')} >&2; exit 101`,
    'not_achieved',
    '3 of 4 tests failing: tests::sp, tests::bad, src/lib.rs - add (line 1); 1 skipped',
    ['assertion `left == right` failed: sum'],
  ],
  [
    'cargo-test',
    `head -c 40000000 /dev/zero | tr '\\0' x
echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'`,
    'not_achieved',
    /printed 38 MiB, too much to read its result from/,
  ],
  // Without a network, no package can be downloaded.
  [
    'cargo-test',
    `echo 'error: failed to get \`serde\`'; echo 'Could not resolve host: index.crates.io' >&2; exit 101`,
    'cannot_check',
    /^cargo test needs packages .* no network: .*preset:cargo, .*`cargo vendor`$/,
  ],
  [
    'go-test',
    `echo 'a_test.go:3:8: dial tcp: lookup proxy.golang.org: no such host' >&2; exit 1`,
    'cannot_check',
    /^go test needs packages .* no network: .*preset:go, .*`go mod vendor`$/,
  ],
]

test.each(ROWS)('%s: after %j', async (goal, script, verdict, reason, parts = []) => {
  const program = goal.replace('-test', '')
  const runCommand = withPrograms(await programs({ [program]: script }))
  const found = await check(goal, '/', { runCommand, files })
  const exact = typeof reason === 'string' ? reason : expect.stringMatching(reason)
  expect(found).toMatchObject({ verdict, reason: exact })
  for (const part of parts) expect(found.details).toContain(part)
  expect(found.details.length).toBeLessThanOrEqual(4096)
})

const MANIFEST = '[package]\nname = "sums"\nversion = "0.1.0"\nedition = "2021"\n'
const inRust = (body: string) => ({
  'Cargo.toml': MANIFEST,
  'src/lib.rs': `pub fn add(a: i32, b: i32) -> i32 { ${body} }\n#[test] fn adds() { assert_eq!(add(1, 2), 3) }\n`,
})
const inGo = (body: string) => ({
  'go.mod': 'module example.com/x\n',
  'x_test.go': `package x\nimport "testing"\nfunc TestIt(t *testing.T) { ${body} }\n`,
})

describe.each([
  ['go', inGo(''), 'achieved', /^1 test passed$/],
  ['go', inGo('t.Error("off")'), 'not_achieved', /^1 of 1 test failing: TestIt$/],
  ['cargo', inRust('a + b'), 'achieved', /^1 test passed$/],
  ['cargo', inRust('a - b'), 'not_achieved', /^1 of 1 test failing: adds$/],
  ['cargo', inRust('c'), 'not_achieved', /error\[E0425\]: cannot find value `c`/],
  ['cargo', {}, 'cannot_check', /^No test was run: .* exit code 101: .*Cargo\.toml/],
] as const)('a real project of %s', (tool, project_, verdict, reason) => {
  test.skipIf(isMissing(tool))(`is ${verdict}: ${reason.source}`, async () => {
    const found = await check(`${tool}-test`, await project({ ...project_ }))
    expect(found).toMatchObject({ verdict, reason: expect.stringMatching(reason) })
  })
})
