import { join, relative } from 'node:path'
import { counted } from '../../lib/counted.ts'
import { shellWord } from '../../lib/shell-word.ts'
import type { Workspace } from '../../workspace/workspace.ts'
import { FIT, type Fit, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { type JUnitCase, summarize } from './junit.ts'
import { parseApart, toResult } from './parse-apart.ts'
import { firstOf, namesIn } from './project-files.ts'
import { judgeJUnit, withReportFolder } from './report-folder.ts'
import {
  type Exited,
  endedWith,
  noResult,
  type Program,
  runCheck,
  SHORT_CHECK_MS,
} from './run-check.ts'
import type { TestSummary } from './test-summary.ts'
import { DETAILS_LIMIT, headAndTail, lastLine, oneLine, tail } from './text.ts'
import type { Diagnostic, PyrightReport } from './tool-output.ts'

const CONFIGS = ['pyproject.toml', 'pytest.ini', 'setup.cfg', 'tox.ini']
const NO_TESTS_COLLECTED = 5
const isTestFile = (name: string): boolean => /^test_.*\.py$|_test\.py$/.test(name)

async function detect(files: Workspace): Promise<Fit | null> {
  const names = [...(await namesIn(files, 'tests')), ...(await namesIn(files, '.'))]
  const test = names.find(isTestFile)
  if (test !== undefined) return { fit: FIT.tests, because: `there is a ${oneLine(test)}` }
  const config = await firstOf(files, CONFIGS)
  return config === null ? null : { fit: FIT.language, because: `there is a ${config}` }
}

/** The ways to run pytest, best first: with the project's own environment, then with the system's. */
async function programs(
  files: Workspace,
  options: readonly string[],
): Promise<[Program, ...Program[]]> {
  const own = await firstOf(files, ['.venv/bin/python', 'venv/bin/python'])
  const asModule = (file: string): Program => ({ file, args: ['-m', 'pytest', ...options] })
  const system = [asModule('python3'), { file: 'pytest', args: options }] as const
  return own === null ? [...system] : [asModule(join(files.cwd, own)), ...system]
}

async function runPytest(context: GoalContext, folder: string, report: string) {
  const options = [
    '-q',
    '--tb=short',
    '--color=no',
    `--junitxml=${report}`,
    // Keeps the cache out of the project. Without it, a `--lf` in the project's settings has no effect.
    '-o',
    `cache_dir=${join(folder, 'cache')}`,
  ]
  return runCheck(context, {
    tool: 'pytest',
    programs: await programs(context.files, options),
    isMissing: ({ exitCode, stderr }) =>
      exitCode === 1 && /: No module named '?pytest'?\s*$/.test(stderr),
    missing: 'pytest is not installed: install it with `python3 -m pip install pytest`',
    writable: [folder],
    timeoutMs: SHORT_CHECK_MS,
    // After an edit within the same second, Python would still run the old bytecode.
    env: { PYTHONDONTWRITEBYTECODE: '1' },
    // The command of a run may be anything that starts pytest, such as `uv run pytest tests/unit`.
    envOfCommand: { PYTEST_ADDOPTS: options.map(shellWord).join(' ') },
  })
}

/** A test whose body and teardown both fail is reported twice, in sequence. */
function isSameTest(one: JUnitCase, next: JUnitCase): boolean {
  if (one.outcome !== 'failed' || next.outcome !== 'failed') return false
  return one.suite === next.suite && one.name === next.name
}

function mergeTwins(cases: readonly JUnitCase[]): readonly JUnitCase[] {
  const merged: JUnitCase[] = []
  for (const next of cases) {
    const last = merged.at(-1)
    if (last === undefined || !isSameTest(last, next)) merged.push(next)
    else merged[merged.length - 1] = { ...last, message: `${last.message}\n\n${next.message}` }
  }
  return merged
}

function toSummary(cases: readonly JUnitCase[]): TestSummary {
  const isBroken = ({ title }: JUnitCase): boolean => title === 'collection failure'
  const isExpected = ({ outcome, type }: JUnitCase): boolean =>
    outcome === 'skipped' && type === 'pytest.xfail'
  const tests = summarize(mergeTwins(cases.filter((item) => !isBroken(item) && !isExpected(item))))
  return {
    ...tests,
    expectedFailures: cases.filter(isExpected).length,
    broken: cases.filter(isBroken),
  }
}

async function checkIn(context: GoalContext, folder: string): Promise<GoalVerdict> {
  const report = join(folder, 'junit.xml')
  const ran = await runPytest(context, folder, report)
  if (ran.isErr()) return ran.error
  return judgeJUnit(
    report,
    toSummary,
    {
      tool: 'pytest',
      unit: 'test file',
      noTests: 'pytest looks for functions named test_* in files named test_*.py',
      noTestsExitCode: NO_TESTS_COLLECTED,
      noise: /^\(to show|^[=!]{3}| in [\d.]+s\b/,
      ended: ran.value,
    },
    context.signal,
  )
}

export const pytest: Goal = {
  name: 'pytest',
  description: 'All Python tests pass under pytest',
  prompt:
    'Make all tests of this Python project pass under pytest. The check runs `python3 -m pytest` ' +
    'in the project folder (with the interpreter of .venv or venv if there is one). It passes ' +
    'when at least one test passed, none failed or errored, and every test file could be loaded.',
  registries: ['pypi'],
  takes: { check: 'optional' },
  detect,
  check: (context) => withReportFolder(context.reportsDir, (folder) => checkIn(context, folder)),
}

/** `src/a.py:3:7`, counted from 1 as editors do. */
function place(cwd: string, { file, range }: Diagnostic): string {
  if (file === undefined) return 'project'
  const path = relative(cwd, file)
  return range === undefined ? path : `${path}:${range.start.line + 1}:${range.start.character + 1}`
}

function describe(cwd: string, diagnostic: Diagnostic): string {
  const rule = diagnostic.rule === undefined ? '' : ` (${diagnostic.rule})`
  return `${place(cwd, diagnostic)}: ${diagnostic.severity}: ${diagnostic.message}${rule}`
}

function judge(cwd: string, report: PyrightReport, ended: Exited): GoalVerdict {
  const { filesAnalyzed, errorCount, warningCount } = report.summary
  const errors = report.generalDiagnostics.filter(({ severity }) => severity === 'error')
  const found = Math.max(errorCount, errors.length)
  const [first] = errors
  if (found > 0) {
    const files = new Set(errors.map(({ file }) => file)).size
    const example = first === undefined ? '' : `: ${oneLine(describe(cwd, first))}`
    const list = errors.map((error) => describe(cwd, error)).join('\n')
    return {
      verdict: 'not_achieved',
      reason: `${counted(found, 'type error')} in ${counted(files, 'file')}${example}`,
      details: headAndTail(list, DETAILS_LIMIT),
    }
  }
  const details = tail(ended.stderr)
  if (filesAnalyzed === 0) {
    return { verdict: 'not_achieved', reason: 'pyright found no Python file to check', details }
  }
  const warnings = warningCount > 0 ? `, ${counted(warningCount, 'warning')}` : ''
  const clean = `No type errors in ${counted(filesAnalyzed, 'file')}${warnings}`
  if (ended.exitCode === 0) return { verdict: 'achieved', reason: clean, details }
  const reason = `${clean}, but pyright ${endedWith(ended.exitCode)}: ${lastLine(ended.stderr)}`
  return { verdict: 'not_achieved', reason, details }
}

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { files } = context
  const { cwd } = context.config
  const python = await firstOf(files, ['.venv/bin/python', 'venv/bin/python'])
  // Without it, pyright would not find packages that are installed only for the project.
  const environment = python === null ? [] : ['--pythonpath', join(cwd, python)]
  const own = await firstOf(files, [
    '.venv/bin/pyright',
    'venv/bin/pyright',
    'node_modules/.bin/pyright',
  ])
  const ran = await runCheck(context, {
    tool: 'pyright',
    programs: [
      { file: own === null ? 'pyright' : join(cwd, own), args: ['--outputjson', ...environment] },
    ],
    missing:
      'pyright is not installed: install it with `pip install pyright` or `npm install --global pyright`',
    timeoutMs: SHORT_CHECK_MS,
  })
  if (ran.isErr()) return ran.error
  const parsed = await parseApart('pyright', [ran.value.stdout], context.signal)
  const report = parsed.andThen(toResult)
  if (report.isOk()) return judge(cwd, report.value, ran.value)
  return noResult('pyright', ran.value, `its report cannot be read (${report.error})`)
}

export const pyright: Goal = {
  name: 'pyright',
  description: 'The Python code has no type errors under pyright',
  prompt:
    'Make this Python project free of type errors under pyright. The check runs `pyright` in the ' +
    'project folder with the settings of the project. It passes when there are no errors; warnings ' +
    'are allowed. Fix the types: no `# type: ignore`, no looser settings, no needless `Any`.',
  registries: ['pypi', 'npm'],
  detect: async (files) => {
    const config = await firstOf(files, ['pyrightconfig.json'])
    return config === null ? null : { fit: FIT.quality, because: `there is a ${config}` }
  },
  check,
}
