import { chmod, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isMissing } from '../support/missing.ts'
import { check, type Files, programs, project, withPrograms } from './support.ts'

const FAILS = 'def test_sum():\n    assert 1 + 1 == 3, "sums are off"\n'
const PASSES = 'def test_fine():\n    pass\n'

describe.skipIf(isMissing('pytest'))('pytest on real projects', () => {
  const pytest = (body: string) => ({ 'test_a.py': `import pytest\n${body}` })

  const ENDS: Readonly<Record<string, readonly [Files, RegExp]>> = {
    'all pass that are not skipped or expected to fail': [
      pytest(`${PASSES}@pytest.mark.skip
def test_later(): assert False
@pytest.mark.xfail
def test_known(): assert False
`),
      /^1 test passed, 1 skipped, 1 expected failure$/,
    ],
    'many fail, of which some are named': [
      {
        'a/test_a.py': FAILS,
        'b/test_b.py': `import pytest
@pytest.mark.parametrize("n", range(12))
def test_n(n): assert False, "long " * 2000
`,
      },
      /^13 of 13 tests failing: a\/test_a.py::test_sum, b\/test_b.py::test_n\[0\], .* and 8 more$/,
    ],
    'a file cannot be imported': [
      { 'test_a.py': 'import no_such_module\n', 'test_b.py': PASSES },
      /^1 of 1 test failing: test_a.py\b/,
    ],
    'a broken conftest.py prevents all of them': [
      { 'conftest.py': 'import no_such_module\n', 'test_b.py': PASSES },
      /^pytest ended with exit code 4: .*no_such/,
    ],
    'there is none': [{ 'main.py': 'x = 1\n' }, /^No test was run: pytest looks for/],
    'one kills the interpreter': [
      { 'test_a.py': 'import os\ndef test_x(): os.kill(os.getpid(), 9)\n' },
      /was ended by SIGKILL \(exit code 137\)/,
    ],
    'what they import ends the process as if all had passed': [
      { 'calc.py': 'import os\nos._exit(0)\n', 'test_a.py': PASSES, 'test_b.py': 'import calc\n' },
      /^pytest ended before its tests did/,
    ],
  }

  test.each(Object.entries(ENDS))('of tests, if %s', async (how, [files, reason]) => {
    const found = await check('pytest', await project(files))
    const verdict = how.startsWith('all pass') ? 'achieved' : 'not_achieved'
    expect(found).toMatchObject({ verdict, reason: expect.stringMatching(reason) })
    expect(found.details.length).toBeLessThanOrEqual(4096)
  })

  test('failing tests are named, with their messages in the details, whatever the settings of the project run', async () => {
    const cwd = await project({
      'pytest.ini': '[pytest]\naddopts = --lf\n',
      'test_a.py': FAILS + PASSES,
    })
    for (const _ of [1, 2]) {
      const { reason, details } = await check('pytest', cwd)
      expect(reason).toBe('1 of 2 tests failing: test_a.py::test_sum')
      for (const part of ['sums are off', 'test_a.py:2']) expect(details).toContain(part)
    }
  })

  test('an edit of the same size right after a check counts in the next, and no cache is left', async () => {
    const cwd = await project({ 'sums.py': 'def f(): return 1\n' })
    await writeFile(join(cwd, 'test_a.py'), 'import sums\ndef test_f(): assert sums.f() == 2\n')
    expect((await check('pytest', cwd)).verdict).toBe('not_achieved')
    await writeFile(join(cwd, 'sums.py'), 'def f(): return 2\n')
    expect((await check('pytest', cwd)).verdict).toBe('achieved')
    expect((await readdir(cwd)).filter((name) => name.includes('cache'))).toEqual([])
  })
})

describe('finding pytest', () => {
  const LACKS = 'echo "/usr/bin/python3: No module named pytest" >&2; exit 1'
  const ONE_PASSED = 'echo "1 passed in 0.01s"'

  test('if python3 has no pytest, the program pytest is used', async () => {
    const bin = await programs({ python3: LACKS, pytest: ONE_PASSED })
    const verdict = await check('pytest', await project({}), { runCommand: withPrograms(bin) })
    expect(verdict).toMatchObject({ verdict: 'achieved', reason: '1 test passed' })
  })

  test('the environment of the project is tried first', async () => {
    const bin = await programs({ python3: 'exit 9', pytest: 'exit 9' })
    const cwd = await project({ '.venv/bin/python': `#!/bin/sh\necho "$0" "$@"; ${ONE_PASSED}\n` })
    await chmod(join(cwd, '.venv/bin/python'), 0o755)
    const verdict = await check('pytest', cwd, { runCommand: withPrograms(bin) })
    expect(verdict.verdict).toBe('achieved')
    expect(verdict.details).toContain('.venv/bin/python -m pytest')
  })
})
