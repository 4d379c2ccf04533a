import type { Versions } from '../domain/verdict.ts'
import type { GoalContext } from './goal.ts'
import { checkEnvironment } from './run-check.ts'

/** What checks run most often, and how each names its version. The Python is that of the project if it has one. */
const ASKED: Readonly<Record<string, string>> = {
  bash: 'bash --version',
  bun: 'bun --version',
  cargo: 'cargo --version',
  go: 'go version',
  make: 'make --version',
  node: 'node --version',
  npm: 'npm --version',
  pytest: `"$python" -Ic 'from importlib.metadata import version; print(version("pytest"))'`,
  python3: '"$python" --version',
}
const SCRIPT = [
  'python=$(command -v .venv/bin/python venv/bin/python python3 | head -n 1)',
  ...Object.entries(ASKED).map(
    ([name, how]) => `echo "${name} $(${how} 2>/dev/null | head -n 1)" &`,
  ),
  'wait',
].join('\n')
const TIMEOUT_MS = 20_000

const LINE = /^(\w+) .*?(\d+(?:\.\d+)+[\w.+-]{0,40})/

/** The versions of the programs that commands find at a place, by their names. */
export async function versionsAt(
  {
    cwd,
    runCommand,
    signal,
  }: Pick<GoalContext, 'runCommand' | 'signal'> & { readonly cwd: string },
  variables: Readonly<Record<string, string>> = {},
): Promise<Versions> {
  const env = checkEnvironment(variables)
  const asked = { file: 'bash', args: ['-c', SCRIPT], cwd, env, timeoutMs: TIMEOUT_MS, signal }
  const { stdout } = await runCommand(asked)
  const found = stdout.split('\n').flatMap((line) => {
    const [, name = '', version = ''] = LINE.exec(line) ?? []
    return Object.hasOwn(ASKED, name) ? [[name, version] as const] : []
  })
  return Object.fromEntries(found.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
