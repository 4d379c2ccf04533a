import { type Finding, note, ok, warn } from './finding.ts'

type Ask = readonly [string, ...string[]]

/** The first line that a command prints about its version; null if commands do not find it. */
export type AskVersion = (command: Ask) => Promise<string | null>

type Program = {
  readonly name: string
  /** The tools and goals that need it. */
  readonly use: string
  readonly ask: Ask
  /** How to install it. */
  readonly fix: string
  /** Whether agents lack something in every project without it. */
  readonly isNeeded?: true
}

const NODE = 'Install Node.js from https://nodejs.org.'
const SYSTEM = 'Install it with the package manager of the system.'
const GO = 'Install it from https://go.dev/dl.'

/** Projects may have it themselves: then it need not be installed for all. */
const npm = (name: string, use: string, packages: string = name): Program => {
  const fix = `Install it in the projects that use it, with "npm install --save-dev ${packages}".`
  return { name, use, ask: [name, '--version'], fix }
}
const python = (name: string, use: string, packages: string = name): Program => {
  const fix = `Install it in the projects that use it, or with "python3 -m pip install ${packages}".`
  return { name, use, ask: ['python3', '-m', name, '--version'], fix }
}

/** What the tools and goals need of the machine. */
const PROGRAMS: readonly Program[] = [
  {
    ...{ name: 'bash', use: 'bash_exec, shell-goal, and the commands of checks', fix: SYSTEM },
    ...{ ask: ['bash', '--version'], isNeeded: true },
  },
  { name: 'git', use: 'the git tools', ask: ['git', '--version'], fix: SYSTEM, isNeeded: true },
  { name: 'curl', use: 'api-test', ask: ['curl', '--version'], fix: SYSTEM },
  { name: 'make', use: 'make-test', ask: ['make', '--version'], fix: SYSTEM },
  { name: 'node', use: 'npm-test', ask: ['node', '--version'], fix: NODE },
  {
    name: 'npm',
    use: 'npm-test and the lint scripts of lint',
    ask: ['npm', '--version'],
    fix: NODE,
  },
  {
    ...{ name: 'bun', use: 'bun-test', ask: ['bun', '--version'] },
    fix: 'Install it with "npm install --global bun".',
  },
  npm('biome', 'lint', '@biomejs/biome'),
  npm('eslint', 'lint'),
  npm('c8', 'coverage of Node.js projects'),
  python('pytest', 'pytest and run_pytest'),
  npm('pyright', 'pyright'),
  python('ruff', 'lint'),
  python('flake8', 'lint'),
  python('coverage', 'coverage of Python projects', 'coverage pytest-cov'),
  {
    ...{ name: 'cargo', use: 'cargo-test', ask: ['cargo', '--version'] },
    fix: 'Install it from https://rustup.rs.',
  },
  {
    ...{ name: 'clippy', use: 'lint', ask: ['cargo', 'clippy', '--version'] },
    fix: 'Install it with "rustup component add clippy".',
  },
  {
    ...{ name: 'cargo-llvm-cov', use: 'coverage of Rust projects' },
    ask: ['cargo', 'llvm-cov', '--version'],
    fix: 'Install it with "cargo install cargo-llvm-cov".',
  },
  { name: 'go', use: 'go-test, go vet of lint, and coverage', ask: ['go', 'version'], fix: GO },
  {
    ...{ name: 'golangci-lint', use: 'lint', ask: ['golangci-lint', '--version'] },
    fix: 'Install it from https://golangci-lint.run.',
  },
]

/** Which programs commands find, and for the others who needs them and how to install them. */
export function examinePrograms(version: AskVersion): Promise<Finding[]> {
  return Promise.all(
    PROGRAMS.map(async ({ name, use, ask, fix, isNeeded = false }) => {
      const found = await version(ask)
      if (found !== null) return ok(name, `${found}, for ${use}.`)
      const missing = isNeeded ? warn : note
      return missing(name, `Commands do not find it. It is needed for ${use}.`, fix)
    }),
  )
}
