import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { isMissing } from '../support/missing.ts'
import { openWorkspace } from '../workspace/support.ts'
import { check, programs, project, withPrograms } from './support.ts'

const fixtureAt = (name: string): string => join(import.meta.dirname, 'fixtures', name)

/** Reads what the programs print. */
const files = openWorkspace({ cwd: '/' })
afterAll(() => files[Symbol.asyncDispose]())

/** Runs a check with a program that prints the recorded output of the real one. */
async function checkWith(goal: string, program: string, script: string) {
  const bin = await programs({ [program]: script })
  return check(goal, '/', { runCommand: withPrograms(bin), files })
}

describe('bun-test', () => {
  const PRINTED = `cat "${fixtureAt('bun-test.txt')}"`

  test('names the tests that failed, and shows why', async () => {
    const verdict = await checkWith('bun-test', 'bun', `${PRINTED}; exit 1`)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toBe('2 of 6 tests failing: bad <one>, grp > bad2; 2 skipped')
    expect(verdict.details).toContain('Expected: 2\nReceived: 1')
    expect(verdict.details).toContain('boom & co')
  })

  test('failures with exit code 0 are not a success', async () => {
    const verdict = await checkWith('bun-test', 'bun', PRINTED)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('bun test hides this with exit code 0')
  })
})

describe('pyright', () => {
  const FOUND = `/srv/a.py
  /srv/a.py:1:10 - error: Type "Literal['x']" is not assignable to declared type "int" (reportAssignmentType)
1 error, 0 warnings, 0 informations`

  test('names the first error', async () => {
    const verdict = await checkWith('pyright', 'pyright', `cat <<'END'\n${FOUND}\nEND\nexit 1`)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(
      /^pyright ended with exit code 1: \/srv\/a\.py:1:10 - error: Type "Literal/,
    )
    expect(verdict.details).toContain('(reportAssignmentType)')
  })

  test('passes if there are no errors, and only then', async () => {
    const clean = 'echo "0 errors, 2 warnings, 0 informations"; echo "Total files checked: 3"'
    expect((await checkWith('pyright', 'pyright', clean)).verdict).toBe('achieved')
    const script = `${clean}; echo 'Config file could not be parsed' >&2; exit 3`
    const verdict = await checkWith('pyright', 'pyright', script)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/^pyright ended with exit code 3: Config file could not/)
  })
})

describe('go-test', () => {
  test('counts tests, not their parents, and shows what does not build', async () => {
    const verdict = await checkWith('go-test', 'go', `cat "${fixtureAt('go-test.txt')}"; exit 1`)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toBe(
      '3 of 7 tests failing: TestBad/two_words, TestParent, TestPanic; 1 skipped',
    )
    expect(verdict.details).toContain('b/b_test.go:3:28: undefined: undefined')
    expect(verdict.details).toContain('assignment to entry in nil map')
  })

  test('is not achieved if a package does not build or has no end, although tests passed', async () => {
    const passed = 'echo "--- PASS: TestA (0.00s)"; echo "--- SKIP: TestB (0.00s)"'
    const script = `${passed}; echo 'b/b_test.go:3:28: undefined: c' >&2; exit 1`
    expect((await checkWith('go-test', 'go', script)).reason).toBe(
      '1 test passed, 1 skipped, but go test ended with exit code 1: b/b_test.go:3:28: undefined: c',
    )
    const hangs = `${passed}; echo 'panic: test timed out after 10m0s'; exit 2`
    expect((await checkWith('go-test', 'go', hangs)).reason).toMatch(/^1 test passed, .* timed out/)
  })

  test.each([
    ["echo '?   p [no test files]'", /^No test was run: go looks for/],
    ['echo "--- SKIP: TestB (0.00s)"', /^No test passed: 1 skipped$/],
    ["echo 'go: go.mod file not found' >&2; exit 1", /^No test was run: go test ended .*go\.mod/],
  ])('without a test that passed, it is not achieved: %s', async (script, reason) => {
    const verdict = await checkWith('go-test', 'go', script)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(reason)
  })
})

describe.skipIf(isMissing('go'))('go-test on a real project', () => {
  test('passes and fails', async () => {
    const source = (body: string) =>
      `package x\nimport "testing"\nfunc TestIt(t *testing.T) { ${body} }\n`
    const mod = { 'go.mod': 'module example.com/x\n' }
    const good = await check('go-test', await project({ ...mod, 'x_test.go': source('') }))
    expect(good).toMatchObject({ verdict: 'achieved', reason: '1 test passed' })
    const bad = { ...mod, 'x_test.go': source('t.Error("off")') }
    expect((await check('go-test', await project(bad))).reason).toBe('1 of 1 test failing: TestIt')
  })
})

describe('cargo-test', () => {
  test('adds up all binaries, and names one that crashed', async () => {
    const script = `cat "${fixtureAt('cargo-test.stdout.txt')}"; cat "${fixtureAt('cargo-test.stderr.txt')}" >&2; exit 101`
    const verdict = await checkWith('cargo-test', 'cargo', script)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toBe(
      '3 of 4 tests failing: tests::sp, tests::bad, src/lib.rs - add (line 1); 1 skipped',
    )
    expect(verdict.details).toContain('assertion `left == right` failed: sum')
  })

  test('if there is more output than can be read, that is the verdict, because it may contain failures', async () => {
    const script = `head -c 40000000 /dev/zero | tr '\\0' x
echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'`
    const verdict = await checkWith('cargo-test', 'cargo', script)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/printed 38 MiB, too much to read its result from/)
    expect(verdict.details.length).toBeLessThanOrEqual(4096)
  })
})

describe.skipIf(isMissing('cargo'))('cargo-test on real projects', () => {
  const MANIFEST = '[package]\nname = "sums"\nversion = "0.1.0"\nedition = "2021"\n'
  const source = (body: string) =>
    `pub fn add(a: i32, b: i32) -> i32 { ${body} }\n#[test] fn adds() { assert_eq!(add(1, 2), 3) }\n`
  const crate = (body: string) => ({ 'Cargo.toml': MANIFEST, 'src/lib.rs': source(body) })

  test.each([
    ['passes', crate('a + b'), 'achieved', /^1 test passed$/],
    ['fails', crate('a - b'), 'not_achieved', /^1 of 1 test failing: adds$/],
    ['does not compile', crate('c'), 'not_achieved', /error\[E0425\]: cannot find value `c`/],
    ['is not a crate', {}, 'cannot_check', /^No test was run: .* exit code 101: .*Cargo\.toml/],
  ])('%s', async (_, files, verdict, reason) => {
    const found = await check('cargo-test', await project(files))
    expect(found).toMatchObject({ verdict, reason: expect.stringMatching(reason) })
  })
})

test.each([
  [
    'cargo',
    `echo 'error: failed to get \`serde\`'; echo 'Could not resolve host: index.crates.io' >&2; exit 101`,
    /^cargo test needs packages .* no network: .*preset:cargo, .*`cargo vendor`$/,
  ],
  [
    'go',
    `echo 'a_test.go:3:8: dial tcp: lookup proxy.golang.org: no such host' >&2; exit 1`,
    /^go test needs packages .* no network: .*preset:go, .*`go mod vendor`$/,
  ],
])(
  'without a network, %s that cannot download packages cannot be checked',
  async (tool, script, reason) => {
    const verdict = await checkWith(`${tool}-test`, tool, script)
    expect(verdict).toMatchObject({
      verdict: 'cannot_check',
      reason: expect.stringMatching(reason),
    })
  },
)
