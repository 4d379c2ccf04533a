import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ResultAsync } from 'neverthrow'
import { messageOf } from '../../src/lib/message-of.ts'

export const OPENCODE_VERSION = '1.18.33'

/** Longest times, milliseconds. The package is 100 MB. */
const INSTALL_MS = 120_000
const ANSWER_MS = 20_000

const run = promisify(execFile)
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/retrai-bench', import.meta.url))

/** Its post-install script installs the program for this machine, so it must be allowed. */
const MANIFEST = {
  private: true,
  dependencies: { 'opencode-ai': OPENCODE_VERSION },
  allowScripts: { 'opencode-ai': true },
}

/** The path of the program; installs it first if needed. The error is a text for people. */
export function installOpencode(): ResultAsync<string, string> {
  const folder = join(CACHE, `opencode-${OPENCODE_VERSION}`)
  const program = join(folder, 'node_modules', '.bin', 'opencode')
  const works = () => ResultAsync.fromPromise(checkVersion(program), messageOf)
  return works()
    .orElse(() => ResultAsync.fromPromise(npmInstall(folder), messageOf).andThen(works))
    .mapErr((problem) => `npm install opencode-ai@${OPENCODE_VERSION} failed: ${problem}`)
    .map(() => program)
}

async function checkVersion(program: string): Promise<void> {
  const { stdout } = await run(program, ['--version'], { env: {}, timeout: ANSWER_MS })
  if (stdout.trim() !== OPENCODE_VERSION) throw new Error(`it is version ${stdout.trim()}`)
}

async function npmInstall(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), JSON.stringify(MANIFEST))
  await run('npm', ['install', '--no-audit', '--no-fund'], {
    cwd: folder,
    timeout: INSTALL_MS,
  })
}
