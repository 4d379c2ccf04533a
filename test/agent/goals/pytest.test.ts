import { chmod, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { isMissing } from '../../support/missing.ts'
import { check, type Files, programs, project, withPrograms } from './support.ts'

const verdictOf = async (files: Files) => check('pytest', await project(files))

const FAILS = 'def test_sum():\n    assert 1 + 1 == 3, "sums are off"\n'
const PASSES = 'def test_fine():\n    pass\n'

describe.skipIf(isMissing('pytest'))('pytest on real projects', () => {
  test('all tests pass', async () => {
    const many = 'import pytest\n@pytest.mark.parametrize("n", range(42))\ndef test_n(n): pass\n'
    const verdict = await verdictOf({ 'tests/test_many.py': many })
    expect(verdict).toMatchObject({ verdict: 'achieved', reason: 'All 42 tests passed' })
  })

  test('skipped tests and expected failures are reported, and do not count as passed', async () => {
    const verdict = await verdictOf({
      'test_a.py': `import pytest
def test_one(): pass
def test_two(): pass
@pytest.mark.skip
def test_later(): assert False
@pytest.mark.xfail
def test_known(): assert False
`,
    })
    expect(verdict.verdict).toBe('achieved')
    expect(verdict.reason).toBe('All 2 tests passed, 1 skipped, 1 expected failure')
  })

  test('failing tests are named, with their messages in the details', async () => {
    const verdict = await verdictOf({ 'test_a.py': FAILS + PASSES })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toBe('1 of 2 tests failing: test_sum')
    expect(verdict.details).toContain('--- test_a::test_sum\n')
    expect(verdict.details).toContain('sums are off')
    expect(verdict.details).toContain('test_a.py:2')
  })

  test('only some of many failing tests are named, and details stay short', async () => {
    const long = 'import pytest\n@pytest.mark.parametrize("n", range(12))\n'
    const verdict = await verdictOf({
      'test_a.py': `${long}def test_n(n): assert False, "long " * 2000\n`,
    })
    expect(verdict.reason).toBe(
      '12 of 12 tests failing: test_n[0], test_n[1], test_n[2], test_n[3], test_n[4] and 7 more',
    )
    expect(verdict.details.length).toBeLessThanOrEqual(4096)
  })

  test('tests with the same name are shown with their files', async () => {
    const verdict = await verdictOf({
      'a/test_a.py': FAILS,
      'b/test_b.py': FAILS,
    })
    expect(verdict.reason).toContain('test_a::test_sum')
    expect(verdict.reason).toContain('test_b::test_sum')
  })

  test('an error in a fixture is a failing test', async () => {
    const verdict = await verdictOf({
      'test_a.py': `import pytest
@pytest.fixture
def broken(): raise RuntimeError("no database")
def test_uses(broken): pass
`,
    })
    expect(verdict.reason).toBe('1 of 1 test failing: test_uses')
    expect(verdict.details).toContain('no database')
  })

  test('a test that fails in its body and in its teardown is one test', async () => {
    const verdict = await verdictOf({
      'test_a.py': `import pytest
@pytest.fixture
def leaks():
    yield
    raise RuntimeError("still open")
def test_both(leaks): assert False, "in the body"
`,
    })
    expect(verdict.reason).toBe('1 of 1 test failing: test_both')
    expect(verdict.details).toContain('still open')
    expect(verdict.details).toContain('in the body')
  })

  test('a test file that cannot be imported is named', async () => {
    const verdict = await verdictOf({ 'test_a.py': 'import no_such_module\n', 'test_b.py': PASSES })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('1 test file could not be run: test_a')
    expect(verdict.reason).toContain("No module named 'no_such_module'")
  })

  test('if a broken conftest.py prevents the report, that is the verdict', async () => {
    const verdict = await verdictOf({
      'conftest.py': 'import no_such_module\n',
      'test_b.py': PASSES,
    })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/^pytest ended with exit code 4 and wrote no report: .*no_such/)
  })

  test.each([
    ['no test file', { 'main.py': 'x = 1\n' }],
    ['a test file without tests', { 'test_a.py': 'x = 1\n' }],
  ])('%s is not a success', async (_what, files) => {
    const verdict = await verdictOf(files)
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/^No test was run: pytest looks for functions named test_\*/)
  })

  test('a run in which all tests are skipped is not a success', async () => {
    const verdict = await verdictOf({
      'test_a.py': 'import pytest\n@pytest.mark.skip\ndef test_later(): pass\n',
    })
    expect(verdict).toMatchObject({ verdict: 'not_achieved', reason: 'No test passed: 1 skipped' })
  })

  test('if a test kills the interpreter, the verdict names the signal', async () => {
    const verdict = await verdictOf({
      'test_a.py': 'import os\ndef test_x(): os.kill(os.getpid(), 9)\n',
    })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toMatch(/was ended by SIGKILL \(exit code 137\) and wrote no report/)
  })

  test('passing tests with a bad exit code are not a success', async () => {
    const verdict = await verdictOf({
      'conftest.py': 'def pytest_sessionfinish(session): session.exitstatus = 7\n',
      'test_a.py': PASSES,
    })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('1 test passed, but pytest ended with exit code 7')
  })

  test('the check leaves no cache, bytecode or report anywhere', async () => {
    const cwd = await project({ 'test_a.py': PASSES })
    const temporary = await project({})
    const reportsDir = await project({})
    vi.stubEnv('TMPDIR', temporary)
    onTestFinished(() => {
      vi.unstubAllEnvs()
    })
    await check('pytest', cwd, { reportsDir })
    expect(await readdir(temporary)).toEqual([])
    expect(await readdir(reportsDir)).toEqual([])
    const names = await readdir(cwd)
    expect(names).toContain('test_a.py')
    expect(names.filter((name) => /cache|\.xml$/.test(name))).toEqual([])
  })

  test('settings that run only a part of the tests have no effect', async () => {
    const cwd = await project({
      'pytest.ini': '[pytest]\naddopts = --lf --junitxml=mine.xml\n',
      'test_a.py': FAILS + PASSES,
    })
    expect((await check('pytest', cwd)).reason).toContain('1 of 2 tests')
    expect((await check('pytest', cwd)).reason).toContain('1 of 2 tests')
    expect(await readdir(cwd)).not.toContain('mine.xml')
  })

  test('an edit of the same size right after a check counts in the next', async () => {
    const cwd = await project({ 'sums.py': 'def f(): return 1\n' })
    await writeFile(join(cwd, 'test_a.py'), 'import sums\ndef test_f(): assert sums.f() == 2\n')
    expect((await check('pytest', cwd)).verdict).toBe('not_achieved')
    await writeFile(join(cwd, 'sums.py'), 'def f(): return 2\n')
    expect((await check('pytest', cwd)).verdict).toBe('achieved')
  })

  test('an aborted check ends at once', async () => {
    const cwd = await project({
      'test_a.py':
        'import pathlib, time\ndef test_x():\n    pathlib.Path("up").touch()\n    time.sleep(600)\n',
    })
    const abort = new AbortController()
    const verdict = check('pytest', cwd, { signal: abort.signal })
    await expect.poll(() => readdir(cwd), { timeout: 30_000 }).toContain('up')
    abort.abort()
    expect(await verdict).toMatchObject({
      verdict: 'not_achieved',
      reason: 'pytest was stopped together with the run',
    })
  })
})

describe('finding pytest', () => {
  const LACKS = 'echo "/usr/bin/python3: No module named pytest" >&2; exit 1'
  const reports = (xml: string) => `
for option in "$@"; do case "$option" in
  --junitxml=*) printf '%s' '${xml}' > "\${option#*=}";;
esac; done`
  const ONE_PASSED =
    '<testsuites><testsuite><testcase classname="t" name="a"/></testsuite></testsuites>'

  test('if python3 has no pytest, the program pytest is used', async () => {
    const bin = await programs({ python3: LACKS, pytest: reports(ONE_PASSED) })
    const verdict = await check('pytest', await project({}), { runCommand: withPrograms(bin) })
    expect(verdict).toMatchObject({ verdict: 'achieved', reason: '1 test passed' })
  })

  test('the environment of the project is tried first', async () => {
    const bin = await programs({ python3: 'exit 9', pytest: 'exit 9' })
    const own = await programs({ python: `${reports(ONE_PASSED)}\necho "$0" "$@"` })
    const python = await readFile(join(own, 'python'), 'utf8')
    const cwd = await project({ '.venv/bin/python': python })
    await chmod(join(cwd, '.venv/bin/python'), 0o755)
    const verdict = await check('pytest', cwd, { runCommand: withPrograms(bin) })
    expect(verdict.verdict).toBe('achieved')
    expect(verdict.details).toContain('.venv/bin/python -m pytest')
  })

  test.each([
    ['torn', ONE_PASSED.slice(0, -20), 'its report cannot be read'],
    ['of another kind', '<html></html>', 'it is not a JUnit report'],
    ['empty', '', 'wrote no report'],
  ])('if the report is %s, that is the verdict', async (_what, xml, problem) => {
    const bin = await programs({ python3: `${reports(xml)}\necho some words` })
    const verdict = await check('pytest', await project({}), { runCommand: withPrograms(bin) })
    expect(verdict.verdict).toBe('not_achieved')
    expect(verdict.reason).toContain('pytest ended with exit code 0')
    expect(verdict.reason).toContain(problem)
    expect(verdict.reason).toMatch(/some words$/)
  })
})
