import { tmpdir } from 'node:os'
import type { Workspace } from '../workspace/workspace.ts'
import { checkWith } from './check-tool.ts'
import { FIT, type Fit, type Goal, oneLine } from './goal.ts'
import {
  firstOf,
  namesIn,
  ownProgram,
  testScript,
  textOf,
  thereIs,
  VENVS,
} from './project-files.ts'
import { ALL_ECOSYSTEMS } from './protected.ts'
import type { Program, ToolCheck } from './run-check.ts'

/** A goal that one tool checks. A run may replace its command, unless it says otherwise. */
type ToolGoal = ToolCheck & Omit<Goal, 'check' | 'command'>

/** Fits a project that has one of these files. */
const ifFile =
  (names: readonly string[], fit: number) =>
  async (files: Workspace): Promise<Fit | null> => {
    const because = await thereIs(files, names)
    return because === null ? null : { fit, because }
  }

/** What helps if a script of package.json needs a program that is not there. */
export const WITHOUT_NPM =
  'install the packages of the project with `npm install`, or, if they are in a folder above it, start a run in that folder'

const PYTHON_CONFIGS = ['pyproject.toml', 'pytest.ini', 'setup.cfg', 'tox.ini']

async function detectPytest(files: Workspace): Promise<Fit | null> {
  const names = [...(await namesIn(files, 'tests')), ...(await namesIn(files, '.'))]
  const test = names.find((name) => /^test_.*\.py$|_test\.py$/.test(name))
  if (test !== undefined) return { fit: FIT.tests, because: `there is a ${oneLine(test)}` }
  return ifFile(PYTHON_CONFIGS, FIT.language)(files)
}

/** The cache is kept out of the project, and cleared: a `--lf` in the project's settings has no effect. */
const PYTEST = [
  '-q',
  '--tb=short',
  '--color=no',
  '--cache-clear',
  '-o',
  'cache_dir=$TMPDIR/retrai-pytest',
  // It names failed tests by itself; those that passed only if it is asked to.
  '-rpfEX',
]

/** With the project's own environment, then with the system's. */
async function pytestPrograms(files: Workspace): Promise<Program[]> {
  const own = await ownProgram(files, 'python')
  const asModule = (file: string): Program => ({ file, args: ['-m', 'pytest', ...PYTEST] })
  const system = [asModule('python3'), { file: 'pytest', args: PYTEST }]
  return own === null ? system : [asModule(own), ...system]
}

async function pyrightPrograms(files: Workspace): Promise<Program[]> {
  const python = await ownProgram(files, 'python')
  // Without it, pyright would not find packages that are installed only for the project.
  const packages = python === null ? [] : ['--pythonpath', python]
  const own = await ownProgram(files, 'pyright', [...VENVS, 'node_modules/.bin'])
  // Only its statistics show that it checked something.
  return [{ file: own ?? 'pyright', args: ['--stats', ...packages] }]
}

async function detectBun(files: Workspace): Promise<Fit | null> {
  if ((await firstOf(files, ['package.json'])) === null) return null
  const lock = await ifFile(['bun.lock', 'bun.lockb'], FIT.tests)(files)
  if (lock !== null) return lock
  const usesBun = /\bbun\b/.test((await testScript(files)) ?? '')
  return usesBun ? { fit: FIT.language, because: 'the test script uses bun' } : null
}

/** Whether a line begins a rule with the target `test`; `test := x` is a variable. */
export function isTestRule(line: string): boolean {
  const [, targets = ''] = /^([\w./-][^:]*)::?(?![=:])/.exec(line) ?? []
  return targets.split(' ').includes('test')
}

async function detectMake(files: Workspace): Promise<Fit | null> {
  const name = await firstOf(files, ['GNUmakefile', 'makefile', 'Makefile'])
  const makefile = name === null ? null : await textOf(files, name)
  const hasRule = makefile?.split('\n').some(isTestRule) === true
  return hasRule ? { fit: FIT.tests, because: `the ${name} has a rule "test"` } : null
}

/** The goals that one tool checks. To add one, add a row. */
export const TOOL_GOALS: readonly ToolGoal[] = [
  {
    name: 'pytest',
    description: 'All Python tests pass under pytest',
    prompt:
      'Make all tests of this Python project pass under pytest. The check runs `python3 -m pytest` ' +
      'in the project folder (with the interpreter of .venv or venv if there is one). It passes ' +
      'when at least one test passed, none failed or errored, and every test file could be loaded.',
    registries: ['pypi'],
    protects: ['python', 'ci'],
    detect: detectPytest,
    tool: 'pytest',
    programs: pytestPrograms,
    lacks: /: No module named '?pytest'?\s*$/,
    missing: 'pytest is not installed: install it with `python3 -m pip install pytest`',
    minutes: 10,
    // After an edit within the same second, Python would still run the old bytecode.
    env: { PYTHONDONTWRITEBYTECODE: '1', TMPDIR: tmpdir() },
    tests: {
      areCounted: false,
      where: 'pytest looks for functions named test_* in files named test_*.py',
      noneExitCode: 5,
    },
    noise: /^\(to show|^[=!]{3}| in [\d.]+s\b/,
    nothing: [
      /^[.\s]*$|test session starts(?![\s\S]* in [\d.]+s\b)/,
      'pytest ended before its tests did, with exit code 0: something in them ends the process, or what it prints goes elsewhere (then use the goal shell-goal)',
    ],
    hidden: /^(?:PASSED|XPASS) .*\n/gm,
  },
  {
    name: 'pyright',
    description: 'The Python code has no type errors under pyright',
    prompt:
      'Make this Python project free of type errors under pyright. The check runs `pyright` in the ' +
      'project folder with the settings of the project. It passes when there are no errors; warnings ' +
      'are allowed. Fix the types: no `# type: ignore`, no looser settings, no needless `Any`.',
    registries: ['pypi', 'npm'],
    takesCheck: false,
    protects: ['lint', 'ci'],
    detect: ifFile(['pyrightconfig.json'], FIT.quality),
    tool: 'pyright',
    programs: pyrightPrograms,
    missing:
      'pyright is not installed: install it with `pip install pyright` or `npm install --global pyright`',
    minutes: 10,
    nothing: [/^(?![\s\S]*\nTotal files checked: [1-9])/, 'pyright found no Python file to check'],
  },
  {
    name: 'npm-test',
    description: 'The test script of package.json passes',
    prompt:
      'Make `npm test` pass in the project folder. It passes when the test script of package.json ' +
      'ends with exit code 0 and, if the test runner prints totals, at least one test passed and ' +
      'none failed.',
    registries: ['npm'],
    protects: ['js', 'ci'],
    detect: async (files) =>
      (await testScript(files)) === null
        ? null
        : { fit: FIT.tests, because: 'package.json has a test script' },
    tool: 'npm test',
    needs: async (files) =>
      (await testScript(files)) === null
        ? 'There is no test script: package.json must be valid JSON with "scripts": {"test": "…"}'
        : null,
    programs: () => [{ file: 'npm', args: ['test'] }],
    missing: 'npm is not installed: install Node.js from https://nodejs.org',
    minutes: 10,
    // CI keeps test runners from watching for changes.
    env: { CI: 'true' },
    tests: { areCounted: false, where: 'the test script of package.json found none' },
    noise: /^(?:npm (?:error|ERR!|warn|notice)\b|> |(?:Test Files|Tests|Start at|Duration) )/,
    withoutNetwork: WITHOUT_NPM,
  },
  {
    name: 'bun-test',
    description: 'All tests pass under bun test',
    prompt:
      'Make all tests of this project pass under bun. The check runs `bun test` in the project ' +
      'folder. It passes when at least one test passed, none failed, and bun itself ends with exit code 0.',
    registries: ['npm'],
    protects: ['js', 'ci'],
    detect: detectBun,
    tool: 'bun test',
    programs: () => [{ file: 'bun', args: ['test'] }],
    missing: 'bun is not installed: install it with `npm install --global bun`',
    minutes: 10,
    tests: {
      areCounted: false,
      where: 'bun looks for files named *.test.ts or *.spec.ts (or .js, .tsx, .jsx)',
    },
    noise: /^(?:Learn more|Ran \d|-+$|bun test v|\d+ (?:pass|fail|skip|todo|error|expect))/,
  },
  {
    name: 'cargo-test',
    description: 'All Rust tests pass under cargo test',
    prompt:
      'Make all tests of this Rust project pass. The check runs `cargo test --no-fail-fast` in the ' +
      'project folder: unit, integration and documentation tests. It passes when the code compiles, ' +
      'at least one test passed and none failed.',
    registries: ['cargo'],
    // Tests are beside the code, in any folder, so the manifest alone shows that they fit.
    protects: ['rust', 'ci'],
    detect: ifFile(['Cargo.toml'], FIT.tests),
    tool: 'cargo test',
    programs: () => [{ file: 'cargo', args: ['test', '--no-fail-fast', '--color=never'] }],
    missing: 'cargo is not installed: install it from https://rustup.rs',
    minutes: 20,
    envOfCommand: { CARGO_TERM_COLOR: 'never' },
    tests: { areCounted: true, where: 'cargo looks for functions marked #[test]' },
    cannot: /^error: could not find `Cargo\.toml`/m,
    withoutNetwork:
      'start a run with the network preset:cargo, or put them into the project with `cargo vendor`',
  },
  {
    name: 'go-test',
    description: 'All Go tests pass under go test',
    prompt:
      'Make all tests of this Go project pass. The check runs `go test ./...` in the project folder. ' +
      'It passes when every package builds, at least one test passed and none failed.',
    registries: ['go'],
    protects: ['go', 'ci'],
    detect: ifFile(['go.mod'], FIT.tests),
    tool: 'go test',
    programs: () => [{ file: 'go', args: ['test', '-v', './...'] }],
    missing: 'go is not installed: install it from https://go.dev/dl',
    minutes: 20,
    envOfCommand: { GOFLAGS: '-v' },
    tests: {
      areCounted: true,
      where: 'go looks for functions named Test* in files named *_test.go',
    },
    cannot: /directory prefix \. does not contain main module|go\.mod file not found in current/,
    withoutNetwork:
      'start a run with the network preset:go, or put them into the project with `go mod vendor`',
  },
  {
    name: 'make-test',
    description: 'The rule "test" of the Makefile passes',
    prompt:
      'Make `make test` pass in the project folder. It passes when make ends with exit code 0 after ' +
      'running the rule "test" and, if a test runner prints totals, at least one test passed and ' +
      'none failed.',
    protects: ALL_ECOSYSTEMS,
    detect: detectMake,
    tool: 'make test',
    programs: () => [{ file: 'make', args: ['test'] }],
    missing: 'make is not installed: install it with the package manager of the system',
    minutes: 20,
    env: { LC_ALL: 'C.UTF-8' },
    tests: { areCounted: false, where: 'the rule "test" of the Makefile found none' },
    // Only make says that a program crashed.
    noise:
      /^make(?:\[\d+\])?: (?!.*(?:No rule|Segmentation fault|Bus error|Illegal inst|Floating))/,
    // A file named `test` exists, or the rule is empty.
    nothing: [
      /^make(?:\[\d+\])?: (?:'test' is up to date|Nothing to be done for 'test')\.$/m,
      'make test ran nothing: give the rule "test" a recipe and declare it .PHONY',
    ],
    cannot: /^make: \*\*\* No rule to make target 'test'\./m,
  },
]

export const goalOf = (row: ToolGoal): Goal => ({
  takesCheck: true,
  command: row.tool,
  ...row,
  check: (context) => checkWith(context, row),
})
