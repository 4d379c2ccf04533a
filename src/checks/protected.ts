import type { RunConfig } from '../domain/run-config.ts'
import type { ProtectedQuestion } from '../domain/snapshots.ts'

/** Which files decide what a check finds, beside the code that it checks: globs with white space between them. */
type Globs = {
  /** Tests, their data, and packages in folders: an agent may add some, but not change those that are there. */
  readonly tests: string
  /** Settings, programs and scripts of the check: an added one changes the check, too. */
  readonly others: string
}

/** With `python3 -m pytest`, these are imported from the project's folder if it has them. */
const IMPORTED_BY_PYTEST =
  `pytest _pytest pluggy iniconfig packaging pygments exceptiongroup tomli colorama py xdist
  pytest_* hypothesis coverage _hypothesis_* argparse array ast asyncio atexit base64 bdb binascii bisect bz2 calendar cmd
  code codeop concurrent contextlib contextvars copy csv dataclasses datetime decimal difflib dis doctest email enum fcntl
  fnmatch fractions functools gettext glob gzip hashlib heapq http importlib inspect ipaddress itertools json keyword
  linecache locale logging lzma math mimetypes netrc numbers opcode operator pathlib pdb pkgutil platform pprint pyexpat
  queue quopri random re readline reprlib select selectors shlex shutil signal socket ssl statistics string struct
  subprocess sysconfig tempfile textwrap threading timeit token tokenize traceback types typing typing_extensions
  unicodedata unittest urllib uuid warnings weakref xml zipfile zlib zoneinfo profile cProfile pstats sortedcontainers
  __future__ _asyncio _bisect _blake2 _bz2 _contextvars _csv _ctypes _datetime _decimal _elementtree _hashlib _heapq
  _json _lsprof _lzma _opcode* _pickle _posixsubprocess _queue _random _sha* _socket _ssl _struct _statistics
  _sysconfigdata* _uuid _zoneinfo`.replace(/\s+/g, ',')

/** What outputs are compared with, wherever it is. */
const EXPECTED = `**/{testdata,expected,golden,goldens}/** **/{expected,golden}.{json,txt,csv,yml,yaml,xml,html,out}
  **/*.{golden,expected,snap}`

const TABLE = {
  python: {
    tests: `**/test_*.py **/*_test.py **/tests.py **/{test,tests}/** ${EXPECTED}`,
    others: `**/conftest.py **/{.,}pytest.{ini,toml} **/pyproject.toml **/setup.cfg **/tox.ini **/noxfile.py {.venv,venv}/bin/**
      **/.coveragerc **/{site,user}customize{,/__init__}.{py,pyc} **/*.pth **/pyvenv.cfg *.{dist,egg}-info/entry_points.txt
      **/site-packages/{pytest,_pytest,pluggy}/** {${IMPORTED_BY_PYTEST}}{,/__init__}.{py,pyc,so,*.so}`,
  },
  js: {
    tests: `**/{test,tests,__tests__,__mocks__,__snapshots__,__fixtures__,spec,specs,e2e}/**
      **/*[._-]{test,tests,spec}.* **/test{,-*}.{js,mjs,cjs,jsx,ts,mts,cts,tsx} **/package.json **/{ts,js}config*.json ${EXPECTED}`,
    others: `package.json {ts,js}config*.json **/{vitest,jest,vite,karma,playwright,cypress,ava,wdio}.{config,conf}.*
      **/{vitest,jest}[.-]*.{js,mjs,cjs,ts,mts,cts,tsx,json} **/{setup{-t,T}ests,test-setup,test.setup}.* __mocks__/**
      **/.{taprc,nycrc,c8rc}* **/.mocharc* **/mocha.opts **/{.,}{babel,swc}{rc,.config}* **/.npmrc **/.yarnrc*
      **/.pnp.* .yarn/** {nx,turbo,lerna}.json **/bunfig.toml **/deno.json*`,
  },
  go: {
    tests: `**/*_test.go ${EXPECTED}`,
    others: '**/go.mod **/go.work **/vendor/**/*.go',
  },
  rust: {
    tests: `**/{tests,benches}/** **/{tests,test,*_test}.rs **/Cargo.toml ${EXPECTED}`,
    others: 'Cargo.toml **/build.rs **/.cargo/** **/rust-toolchain* **/.config/nextest.toml',
  },
  make: {
    tests: `**/{test,tests,spec,specs}/** **/test_*.* **/*[._-]{test,tests,spec}.*
      **/*{Test,Tests,Spec}.{java,kt,cs,php,scala,swift} **/*.bats ${EXPECTED}`,
    others: `**/{GNUmakefile,makefile,Makefile} **/*.{mk,mak} **/{.,}{justfile,Justfile} **/Taskfile.y*ml **/Rakefile .rspec
      **/phpunit.xml* gradle/wrapper/** .mvn/**`,
  },
  /** What linters and compilers obey. Of the tests, a run may fix what a linter finds. */
  lint: {
    tests: '**/package.json **/{ts,js}config*.json **/Cargo.toml',
    others: `package.json {ts,js}config*.json **/{eslint.config.*,.eslintrc*,.eslintignore} **/biome.json*
      **/.prettier* **/.editorconfig **/pyproject.toml **/setup.cfg **/pyrightconfig.json
      **/{.,}{mypy.ini,ruff.toml,pylintrc,flake8} **/.golangci.* Cargo.toml **/{.,}clippy.toml`,
  },
  ci: {
    tests: '',
    others: `.github/{workflows,actions}/** .gitlab-ci.yml .gitlab/** .circleci/** .{travis,drone}.yml .woodpecker*/**
      .buildkite/** .ci/** Jenkinsfile {azure,bitbucket}-pipelines*.yml **/.pre-commit-config.yaml .retrai.yml`,
  },
} as const satisfies Record<string, Globs>

export type Ecosystem = keyof typeof TABLE
export const ALL_ECOSYSTEMS = Object.keys(TABLE) as readonly Ecosystem[]

/** What a goal says about the files that it protects. */
type Protecting = {
  readonly protects?: readonly Ecosystem[]
  /** Its own command, if that names scripts of the project. */
  readonly command?: string
}

function globsOf(goals: readonly Protecting[], of: keyof Globs): readonly string[] {
  const texts = goals.flatMap(({ protects = [] }) => protects.map((name) => TABLE[name][of]))
  return [...new Set(texts.flatMap((text) => text.split(/\s+/).filter(Boolean)))]
}

/** The globs of the files that a goal protects. */
export const protectedBy = (goal: Protecting): string[] => [
  ...globsOf([goal], 'others'),
  ...globsOf([goal], 'tests'),
]

/** Which files a run may not change without being named; null if that is not compared. */
export function protectedIn(
  { goal, shell_goal, all_of = [], protect = [], on_tampering }: RunConfig,
  findGoal: (name: string) => Protecting,
): ProtectedQuestion | null {
  const parts = [{ goal, shell_goal }, ...all_of]
  const goals = parts.map((part) => findGoal(part.goal))
  const tests = globsOf(goals, 'tests')
  const others = [...globsOf(goals, 'others'), ...protect]
  if (on_tampering === 'off' || others.length === 0) return null
  const texts = parts.flatMap((part) => {
    const { check_command: own, success_condition: wanted } = part.shell_goal ?? {}
    if (own === undefined) return findGoal(part.goal).command ?? []
    // A command whose output is compared prints what the product does.
    return wanted?.output_contains === undefined ? own : `${own} | grep`
  })
  return { tests, others, texts }
}
