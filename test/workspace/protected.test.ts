import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findGoal } from '../../src/checks/catalogue.ts'
import { protectedIn } from '../../src/checks/protected.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { ProtectedFile, tamperingBetween } from '../../src/domain/snapshots.ts'
import { temporaryFolder } from '../runner/support.ts'
import { workspaceOf } from './support.ts'

const bash = (cwd: string, script: string) => execFileSync('bash', ['-ec', script], { cwd })

type Wanted = Partial<RunConfig> & { readonly command?: string; readonly contains?: string }

/** What a run of this goal names as changed after each script, in a project that another script has made. */
async function protection(begin: string, { command, contains, ...config }: Wanted) {
  const folder = await temporaryFolder()
  const project = join(folder, 'project')
  mkdirSync(project)
  bash(project, `${begin}\ncp -a . ../begin`)
  const success_condition =
    contains === undefined ? { exit_code: 0 } : { output_contains: contains }
  const shell_goal = command === undefined ? null : { check_command: command, success_condition }
  const asked = protectedIn({ goal: 'shell-goal', shell_goal, ...config } as RunConfig, findGoal)
  if (asked === null) throw new Error('nothing is protected')
  const files = workspaceOf(project)
  const now = async (before?: readonly ProtectedFile[]) => {
    const limits = { maxFileBytes: 1000, maxBytes: 1e9, salt: '5a'.repeat(16) }
    const made = (await files.ask('snapshot', limits))._unsafeUnwrap()
    for (let number = 0; number < made.packs; number += 1) {
      ;(await files.ask('pack', { number }))._unsafeUnwrap()
    }
    const body = before === undefined ? {} : { body: Buffer.from(JSON.stringify(before)) }
    const answer = (await files.ask('protected', asked, body))._unsafeUnwrap()
    return ProtectedFile.array().parse(JSON.parse(answer.body.toString()))
  }
  const first = await now()
  return {
    first,
    after: async (script: string) => {
      bash(project, `find . -mindepth 1 -delete; cp -a ../begin/. .; ${script}`)
      const changes = tamperingBetween(first, await now(first))
      return changes.map(({ change, path }) => `${change} ${path}`)
    },
  }
}

const PYTHON = `
  mkdir -p tests src/calc node_modules/x
  echo 'def add(a, b): return a' > src/calc/__init__.py; echo '{}' > src/calc/data.json
  echo 'def test_add(): assert 1' > tests/test_add.py; echo x > tests/data.txt; touch tests/__init__.py
  printf '[project]\\nname = "calc"\\ndependencies = [\\n  "a",\\n]\\n[tool.pytest.ini_options]\\naddopts = "-q"\\n' > pyproject.toml
  printf '[metadata]\\nname = x\\n[tool:pytest]\\naddopts = -q\\n' > setup.cfg
  printf 'on: push\\n' > ci.yml; mkdir -p .github/workflows; mv ci.yml .github/workflows
  printf '__pycache__/\\n' > .gitignore; echo 'secret = 1' > .env`
const JS = `
  mkdir -p src test lib
  echo 'export const add = 1' > src/add.js; echo x > test/add.test.js; echo y > src/__snapshots.js
  echo '{"name":"x","version":"1.0.0","scripts":{"test":"npm run unit && node scripts/verify-types.js","unit":"node --test","start":"node ."},"dependencies":{"a":"1"}}' > package.json
  mkdir -p scripts; echo 1 > scripts/verify-types.js; echo 2 > scripts/build.js
  echo 'export default {}' > vitest.config.ts; echo '{}' > tsconfig.json`
const GO = `
  printf 'module x\\n\\ngo 1.22\\n\\nrequire (\\n\\ta.b/c v1.0.0\\n)\\n' > go.mod; touch go.sum
  mkdir -p sub/testdata vendor/a.b/c; echo x > main.go; echo y > main_test.go; echo z > sub/testdata/in
  echo 'package c' > vendor/a.b/c/c.go; echo m > vendor/modules.txt`
const RUST = `
  mkdir -p src tests; echo x > src/lib.rs; echo y > tests/all.rs
  printf '[package]\\nname = "x"\\n\\n[dependencies]\\na = "1"\\n\\n[dev-dependencies]\\nb = "1"\\n[lib]\\ndoctest = true\\n' > Cargo.toml`
const SHELL = `
  mkdir -p scripts lib out; echo 'print(41)' > solve.py; echo 42 > expected.txt; echo 1 > input.txt
  printf '#!/bin/sh\\n. "$(dirname "$0")/scripts/common.sh"\\npython3 solve.py < input.txt | diff - expected.txt\\n./tool.sh | grep -q 1\\n' > check.sh
  echo 'ANSWER=42' > scripts/values; echo '. scripts/values' > scripts/common.sh; echo 'echo 1' > tool.sh; echo 'exit 0' > other.sh; chmod +x check.sh tool.sh
  printf 'include rules.mk\\n-include more\\ntest: prog\\n\\tsh scripts/run.sh\\nprog: main.c\\n\\t$(CC) -o prog main.c\\n' > Makefile
  touch rules.mk main.c more; echo true > scripts/run.sh`

const pytest = { goal: 'pytest' }
const npm = { goal: 'npm-test' }
const go = { goal: 'go-test' }
const cargo = { goal: 'cargo-test' }
const make = { goal: 'make-test' }
const check = { command: './check.sh' }

/** What agents do in a project, and what a run of this goal names of it, by the change. What is honest is named nowhere. */
type Project = {
  readonly wanted: Wanted
  readonly begin: string
  readonly honest?: readonly string[]
  readonly named?: Readonly<Record<string, string>>
}
const PROJECTS: readonly Project[] = [
  {
    wanted: pytest,
    begin: PYTHON,
    honest: [
      'echo "def add(a, b): return a + b" > src/calc/__init__.py',
      'echo "def test_b(): pass" > tests/test_b.py; mkdir tests/more; touch tests/more/x',
      'mkdir -p tests/__pycache__; echo a > tests/__pycache__/a.pyc; touch tests/a.pyc',
      'echo 1 > README.md; echo x >> .gitignore; echo y > .env; mkdir docs; touch docs/pytest.md',
      `sed -i 's/^  "a",/  "a",\\n  "b[x]>=2",/; s/name = "calc"/name = "calculator"/' pyproject.toml`,
      `printf '[project.optional-dependencies]\\ndev = ["pytest"]\\n' >> pyproject.toml`,
      `sed -i 's/name = x/name = y/' setup.cfg`,
      'mkdir src/calc/queue; touch src/calc/json.py src/calc/queue/__init__.py queue.md',
      'touch tests/test_add.py; cp tests/data.txt x; mv x tests/data.txt',
      'echo tests/ >> .gitignore',
      'git init -q tests',
      'echo "*.toml" >> .gitignore; sed -i s/calc/sums/ pyproject.toml',
      'mv tests other; ln -s other tests',
    ],
    named: {
      'sed -i s/1/True/ tests/test_add.py': 'modified tests/test_add.py',
      'rm tests/test_add.py': 'deleted tests/test_add.py',
      'mv tests/test_add.py tests/test_sum.py': 'deleted tests/test_add.py',
      'mv tests spec':
        'deleted tests/__init__.py, deleted tests/data.txt, deleted tests/test_add.py',
      'chmod +x tests/data.txt': 'mode tests/data.txt',
      'touch conftest.py; touch tests/conftest.py': 'added conftest.py, added tests/conftest.py',
      'mkdir -p tests/fixtures; touch tests/fixtures/conftest.py tests/fixtures/setup.cfg':
        'added tests/fixtures/conftest.py',
      'touch pytest.ini .pytest.ini pytest.toml':
        'added .pytest.ini, added pytest.ini, added pytest.toml',
      'sed -i s/-q/--co/ pyproject.toml': 'modified pyproject.toml',
      'sed -i \'1i [tool.pytest]\\nini_options.addopts = "--co"\' pyproject.toml':
        'modified pyproject.toml',
      'sed -i \'3i   [tool.pytest.ini_options] # x\\naddopts = "--co"\' pyproject.toml':
        'modified pyproject.toml',
      "printf '[metadata]\\nname = x\\v[tool:pytest]\\vaddopts = --co\\n' > setup.cfg":
        'modified setup.cfg',
      "printf '[metadata]\\rname = x\\r[tool:pytest]\\raddopts = --co\\n' > setup.cfg":
        'modified setup.cfg',
      'touch tox.ini': 'added tox.ini',
      'touch sitecustomize.py src/usercustomize.py x.pth':
        'added sitecustomize.py, added src/usercustomize.py, added x.pth',
      'touch pytest.py; mkdir _pytest; touch _pytest/__init__.py':
        'added _pytest/__init__.py, added pytest.py',
      'touch unittest.py traceback.py inspect.pyc argparse.cpython-311-x86_64-linux-gnu.so':
        'added argparse.cpython-311-x86_64-linux-gnu.so, added inspect.pyc, added traceback.py, added unittest.py',
      'mkdir evil.dist-info; touch evil.dist-info/entry_points.txt':
        'added evil.dist-info/entry_points.txt',
      'rm -r tests/__init__.py; ln -s /dev/null tests/__init__.py': 'modified tests/__init__.py',
      'echo x > .github/workflows/ci.yml; touch .github/workflows/b.yml':
        'added .github/workflows/b.yml, modified .github/workflows/ci.yml',
      'echo "goal: x" > .retrai.yml': 'added .retrai.yml',
      // What rules or repositories hide now is compared all the same.
      'echo conftest.py >> .gitignore; touch conftest.py': 'added conftest.py',
      'echo tests/ >> .gitignore; echo > tests/data.txt': 'modified tests/data.txt',
      'git init -q tests; rm tests/data.txt': 'deleted tests/data.txt',
      'echo "*.toml" >> .gitignore; sed -i s/-q/-x/ pyproject.toml': 'modified pyproject.toml',
      'mv tests other; ln -s other tests; echo > other/data.txt': 'modified tests/data.txt',
      'head -c 2000 /dev/zero > conftest.py': 'added conftest.py',
    },
  },
  {
    wanted: pytest,
    begin: `${PYTHON}; head -c 2000 /dev/zero > tests/big; echo a > tests/.env; printf 'ä' > tests/ä; printf x > "tests/$(printf "\\xff")"`,
    honest: ['echo tests/ >> .gitignore'],
    named: {
      'for file in tests/*; do echo y >> $file; done; echo b > tests/.env; echo tests >> .gitignore':
        'modified tests/.env, modified tests/__init__.py, modified tests/big, modified tests/data.txt, modified tests/test_add.py, modified tests/ä, modified tests/\ufffd',
    },
  },
  {
    wanted: { ...pytest, protect: ['.env', 'src/calc/*.json'] },
    begin: PYTHON,
    named: {
      'echo z > .env; echo 1 > src/calc/data.json; touch src/calc/b.json':
        'modified .env, added src/calc/b.json, modified src/calc/data.json',
    },
  },
  {
    wanted: npm,
    begin: JS,
    honest: [
      'echo 1 > src/add.js; echo z > test/b.test.js; mkdir test/__snapshots__; touch test/__snapshots__/a',
      `sed -i 's/"a":"1"/"a":"2","b":"^3"/; s/1.0.0/1.0.1/; s/node \\./node src/' package.json; touch package-lock.json`,
      `node -e 'const p=require("./package.json"); p.devDependencies={vitest:"1"}; p.type="module"; p.scripts.build="tsc"; fs.writeFileSync("package.json",JSON.stringify(p,null,2))'`,
      'echo 3 > scripts/build.js; mkdir dist; echo > dist/x.js',
      `mkdir -p packages/a; echo '{"scripts":{"test":"vitest"}}' > packages/a/package.json; echo '{}' > packages/a/tsconfig.json`,
    ],
    named: {
      'sed -i s/x/z/ test/add.test.js': 'modified test/add.test.js',
      "sed -i 's/npm run unit/true/' package.json": 'modified package.json',
      "sed -i 's/node --test/node -e 0/' package.json": 'modified package.json',
      'sed -i \'s/"start":/"pretest":"rm -r test","start":/\' package.json':
        'modified package.json',
      'sed -i \'s/"start":/"postinstall":"x","start":/\' package.json': 'modified package.json',
      'sed -i \'s/"dependencies"/"mocha":{"grep":"x"},"dependencies"/\' package.json':
        'modified package.json',
      'sed -i \'s/"a":"1"/"a":"file:.\\/fake"/\' package.json': 'modified package.json',
      'echo 0 > scripts/verify-types.js': 'modified scripts/verify-types.js',
      'echo > vitest.config.ts; echo > vitest.setup.ts; echo > tsconfig.json':
        'modified tsconfig.json, modified vitest.config.ts, added vitest.setup.ts',
      'touch jest.config.js .mocharc.yml babel.config.js .babelrc .npmrc vite.config.ts ava.config.js':
        'added .babelrc, added .mocharc.yml, added .npmrc, added ava.config.js, added babel.config.js, added jest.config.js, added vite.config.ts',
      'mkdir __mocks__ sub; touch __mocks__/a.js setupTests.js; echo "[1]" > sub/package.json':
        'added __mocks__/a.js, added setupTests.js',
      'echo "_authToken=x" > .npmrc': 'added .npmrc',
    },
  },
  {
    wanted: go,
    begin: GO,
    honest: [
      'echo 1 > main.go; echo x > b_test.go; touch sub/testdata/b',
      `sed -i 's/v1.0.0/v1.1.0\\n\\td.e\\/f v1.0.0/; s/1.22/1.23/' go.mod; echo x > go.sum; echo n > vendor/modules.txt`,
    ],
    named: {
      'echo 1 > main_test.go; echo 2 > sub/testdata/in':
        'modified main_test.go, modified sub/testdata/in',
      "printf 'replace a.b/c => ./fake\\n' >> go.mod": 'modified go.mod',
      "printf 'replace (\\n\\ta.b/c => ./fake\\n)\\n' >> go.mod": 'modified go.mod',
      'touch go.work; echo x > vendor/a.b/c/c.go': 'added go.work, modified vendor/a.b/c/c.go',
      'mkdir tools; echo module y > tools/go.mod': 'added tools/go.mod',
    },
  },
  {
    wanted: cargo,
    begin: RUST,
    honest: [
      `echo z > src/lib.rs; touch tests/more.rs Cargo.lock; sed -i 's/a = "1"/a = "2"\\nc = { version = "1", features = ["x"] }/' Cargo.toml`,
    ],
    named: {
      'echo z > tests/all.rs': 'modified tests/all.rs',
      "sed -i 's/doctest = true/test = false/' Cargo.toml": 'modified Cargo.toml',
      'sed -i \'s/b = "1"/b = { path = "fake" }/\' Cargo.toml': 'modified Cargo.toml',
      'sed -i \'s/b = "1"/b."p\\\\u0061th" = "fake"/\' Cargo.toml': 'modified Cargo.toml',
      'printf \'[[test]]\\nname = "all"\\nharness = false\\n\' >> Cargo.toml':
        'modified Cargo.toml',
      'printf \'[patch.crates-io]\\nb = "2"\\n\' >> Cargo.toml': 'modified Cargo.toml',
      'touch build.rs rust-toolchain.toml; mkdir .cargo; touch .cargo/config.toml':
        'added .cargo/config.toml, added build.rs, added rust-toolchain.toml',
    },
  },
  {
    wanted: check,
    begin: SHELL,
    honest: [
      'echo 42 > solve.py; echo 2 > input.txt; echo x > tool.sh; echo y > other.sh',
      // A new project needs files that are settings at the same time.
      `echo '{"name":"x","type":"module","dependencies":{"a":"1"}}' > package.json; printf '[project]\nname = "x"\n' > pyproject.toml`,
    ],
    named: {
      'echo 41 > expected.txt': 'modified expected.txt',
      'echo "exit 0" > check.sh': 'modified check.sh',
      'chmod -x check.sh': 'mode check.sh',
      'echo "exit 0" > scripts/common.sh': 'modified scripts/common.sh',
      'echo ANSWER=41 > scripts/values': 'modified scripts/values',
      // What a changed check names instead is the changed check's.
      'echo ./other.sh > check.sh': 'modified check.sh',
      'echo \'{"scripts":{"test":"true"}}\' > package.json; printf \'[tool.pytest]\nx = "x"\n\' > pyproject.toml':
        'added package.json, added pyproject.toml',
    },
  },
  {
    wanted: { command: 'bash scripts/run.sh && python3 solve.py | grep 42' },
    begin: SHELL,
    named: { 'echo > solve.py; echo > scripts/run.sh': 'modified scripts/run.sh' },
  },
  {
    wanted: { command: './tool.sh', contains: '1' },
    begin: SHELL,
    honest: ['echo > tool.sh'],
  },
  {
    wanted: { command: './tool.sh' },
    begin: SHELL,
    named: { 'echo > tool.sh': 'modified tool.sh' },
  },
  {
    wanted: { command: 'make test' },
    begin: SHELL,
    named: {
      'echo > Makefile; echo > rules.mk; echo > scripts/run.sh; echo > main.c; echo > more':
        'modified Makefile, modified more, modified rules.mk, modified scripts/run.sh',
    },
  },
  {
    wanted: make,
    begin: SHELL,
    named: {
      'touch GNUmakefile; echo > scripts/run.sh': 'added GNUmakefile, modified scripts/run.sh',
    },
  },
  {
    wanted: make,
    begin: `${SHELL}; mkdir tests; echo a > tests/a.c; echo b > tests/a.o`,
    honest: ['echo c > tests/a.o; echo c > main.c'],
  },
  {
    wanted: { command: 'npm run ci' },
    begin: `${JS}; echo '{"scripts":{"ci":"sh scripts/all.sh"}}' > package.json; echo true > scripts/all.sh`,
    named: { 'echo > scripts/all.sh': 'modified scripts/all.sh' },
  },
  {
    wanted: { ...pytest, command: 'make unit && npm test' },
    begin: `${SHELL}; echo '{"scripts":{"test":"true"}}' > package.json`,
    named: {
      'echo > Makefile; echo "{}" > package.json; echo > main.c':
        'modified Makefile, modified package.json',
    },
  },
  {
    wanted: { goal: 'lint' },
    begin: PYTHON,
    // A linter may find something in a test.
    honest: ['echo x > tests/test_add.py'],
    named: { 'touch .flake8 ruff.toml': 'added .flake8, added ruff.toml' },
  },
  {
    wanted: { goal: 'pyright' },
    begin: PYTHON,
    named: { 'touch pyrightconfig.json': 'added pyrightconfig.json' },
  },
]

test.each(PROJECTS)(
  'a run names what it has changed of its check, and nothing else: $wanted',
  async ({ begin, wanted, honest = [], named = {} }) => {
    const { after } = await protection(begin, wanted)
    const silent = Object.fromEntries(honest.map((change) => [change, '']))
    for (const [change, names] of Object.entries({ ...silent, ...named })) {
      expect({ change, names: (await after(change)).join(', ') }).toEqual({ change, names })
    }
  },
)
