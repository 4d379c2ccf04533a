import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isMissing } from '../../support/missing.ts'
import { check, programs, project, withPrograms } from './support.ts'

const fixtureAt = (name: string): string => join(import.meta.dirname, 'fixtures', name)

/** Runs a check with a program that prints the recorded output of the real one. */
async function checkWith(goal: string, program: string, script: string) {
  const bin = await programs({ [program]: script })
  return check(goal, await project({}), { runCommand: withPrograms(bin) })
}

describe('bun-test', () => {
  const reporting = `for option in "$@"; do case "$option" in
  --reporter-outfile=*) cp "${fixtureAt('bun-test.xml')}" "\${option#*=}";;
esac; done
`
  test('reads the JUnit report with nested suites', async () => {
    const verdict = await checkWith(
      'bun-test',
      'bun',
      `${reporting}cat "${fixtureAt('bun-test.txt')}"; exit 1`,
    )
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toBe('2 of 6 tests failing: bad <one>, bad2; 2 skipped')
    expect(verdict.details).toContain('Expected: 2\nReceived: 1')
    expect(verdict.details).toContain('boom & co')
  })

  test('failures with exit code 0 are not a success', async () => {
    const verdict = await checkWith('bun-test', 'bun', `${reporting}exit 0`)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('bun test hides this with exit code 0')
  })

  test('a test file that cannot be loaded is named, although the report omits it', async () => {
    const printed = "error: Cannot find module './nope' from 'b.test.ts'"
    const verdict = await checkWith(
      'bun-test',
      'bun',
      `echo "${printed}"; echo "-------"; echo " 0 pass"; echo " 1 fail"; exit 1`,
    )
    expect(verdict.reason).toBe(`bun test ended with exit code 1 and wrote no report: ${printed}`)
  })
})

describe('pyright', () => {
  const printing = `echo 'a note in front'; cat "${fixtureAt('pyright.json')}"`
  const clean = (files: number) =>
    `echo '{"generalDiagnostics":[],"summary":{"filesAnalyzed":${files},"errorCount":0,"warningCount":2,"informationCount":0}}'`

  test('names the number of errors and the first', async () => {
    const verdict = await checkWith('pyright', 'pyright', `${printing}; exit 1`)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/^2 type errors in 1 file: .*a\.py:1:10: error: Type "Literal/)
    expect(verdict.details).toContain('(reportArgumentType)')
  })

  test('if there are no errors, the number of warnings is reported', async () => {
    const verdict = await checkWith('pyright', 'pyright', clean(3))
    const reason = 'No type errors in 3 files, 2 warnings'
    expect(verdict).toMatchObject({ verdict: 'achieved', reason })
  })

  test('a clean report with a bad exit code is not a success', async () => {
    const script = `${clean(3)}; echo 'Config file could not be parsed' >&2; exit 3`
    const verdict = await checkWith('pyright', 'pyright', script)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/but pyright ended with exit code 3: Config file could not/)
  })

  test('looks for imports in the environment of the project', async () => {
    const bin = await programs({ pyright: `${clean(3)}; echo "$@" >&2` })
    const cwd = await project({ '.venv/bin/python': '' })
    const verdict = await check('pyright', cwd, { runCommand: withPrograms(bin) })
    expect(verdict.details).toBe(`--outputjson --pythonpath ${cwd}/.venv/bin/python`)
  })

  test('without files, the goal is not achieved', async () => {
    const verdict = await checkWith('pyright', 'pyright', clean(0))
    expect(verdict).toMatchObject({
      verdict: 'not_achieved',
      reason: 'pyright found no Python file to check',
    })
  })

  test.each(['{"summary": 1}', '{"generalDiagnostics": [', 'no JSON at all', ''])(
    'if the report is %s, that is the verdict',
    async (text) => {
      const verdict = await checkWith('pyright', 'pyright', `echo '${text}'; exit 2`)
      expect(verdict.verdict).toBe('not_achieved')
      expect(verdict.reason).toContain(
        'pyright ended with exit code 2 and its report cannot be read',
      )
    },
  )
})

describe('go-test', () => {
  const REASON =
    '3 of 7 tests failing: TestBad/two_words, TestParent, TestPanic; 2 packages could not be run: ' +
    'example.com/gop/b, example.com/gop/e (b/b_test.go:3:28: undefined: undefined); 1 skipped'

  test('counts tests, not their parents, and names packages that do not build', async () => {
    const verdict = await checkWith('go-test', 'go', `cat "${fixtureAt('go-test.jsonl')}"; exit 1`)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toBe(REASON)
    expect(verdict.details).toContain('a_test.go:4: want 1, got 2')
    expect(verdict.details).toContain('assignment to entry in nil map')
  })

  test('a test that never ended has failed with its package', async () => {
    const lines = [
      { Action: 'run', Package: 'p', Test: 'TestHangs' },
      { Action: 'output', Package: 'p', Test: 'TestHangs', Output: 'panic: test timed out\n' },
      { Action: 'fail', Package: 'p' },
    ]
    const text = lines.map((line) => JSON.stringify(line)).join('\n')
    const verdict = await checkWith('go-test', 'go', `cat <<'END'\n${text}\nEND\nexit 1`)
    expect(verdict.reason).toBe('1 of 1 test failing: TestHangs')
    expect(verdict.details).toContain('test timed out')
  })

  test('packages without tests are not a success', async () => {
    const line = { Action: 'skip', Package: 'p' }
    const verdict = await checkWith('go-test', 'go', `echo '${JSON.stringify(line)}'`)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/^No test was run: go looks for/)
  })

  test('without any events, the output of go is the reason', async () => {
    const script = `echo 'go: go.mod file not found' >&2; echo '{"Action": 7}'; exit 1`
    const verdict = await checkWith('go-test', 'go', script)
    expect(verdict.reason).toBe(
      'go test ended with exit code 1 and reported nothing: {"Action": 7}',
    )
    expect(verdict.details).toContain('go.mod file not found')
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
      '3 of 4 tests failing: tests::sp, tests::bad, src/lib.rs - add (line 1); 1 test target could ' +
        'not be run: --test int (signal: 6, SIGABRT: process abort signal); 1 skipped',
    )
    expect(verdict.details).toContain('assertion `left == right` failed: sum')
  })

  test('without tests in any binary, the goal is not achieved', async () => {
    const none = 'test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'
    const verdict = await checkWith('cargo-test', 'cargo', `echo '${none}'`)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/^No test was run/)
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
  const crate = (body: string) => project({ 'Cargo.toml': MANIFEST, 'src/lib.rs': source(body) })

  test('passes', async () => {
    const verdict = await check('cargo-test', await crate('a + b'))
    expect(verdict).toMatchObject({ verdict: 'achieved', reason: '1 test passed' })
  })

  test('fails', async () => {
    const verdict = await check('cargo-test', await crate('a - b'))
    expect(verdict.reason).toBe('1 of 1 test failing: adds')
    expect(verdict.details).toContain('left: -1')
  })

  test('does not compile', async () => {
    const verdict = await check('cargo-test', await crate('c'))
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('sums (lib)')
    expect(verdict.reason).toContain('error[E0425]: cannot find value `c`')
    expect(verdict.details).toContain('src/lib.rs:1')
  })

  test('is not a crate', async () => {
    const verdict = await check('cargo-test', await project({}))
    expect(verdict.verdict).toBe('cannot_check')
    expect(verdict.reason).toMatch(/^cargo test ended with exit code 101 .*Cargo\.toml/)
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
