import { execFile } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PROGRAM_FOLDER = 'test/dist'

/**
 * Thousands of processes and threads run the same few modules. With this folder as NODE_COMPILE_CACHE, each uses what
 * earlier ones have compiled, and opening a store takes half of the processor time.
 */
export const COMPILE_CACHE = join(tmpdir(), 'node-compile-cache')

/** What the console is built from. */
const CONSOLE_SOURCES = [
  'web/src',
  'web/index.html',
  'web/vite.config.ts',
  'package-lock.json',
  'src/api',
  'src/audit',
  'src/cli/terminal',
  'src/client',
  'src/domain',
  'src/lib',
  'src/log',
  'src/redaction',
  'src/snapshots',
  'src/store',
]

/** Builds the console, unless its build is newer than its sources. */
export async function buildConsole(): Promise<void> {
  if (await isBuilt('web/dist/index.html', CONSOLE_SOURCES)) return
  await promisify(execFile)('npm', ['run', '--silent', 'build:web'], { cwd: ROOT })
}

/**
 * Builds the program as for the package, unless its build is newer than its sources. Starting from the build takes a
 * third of the processor time.
 * @returns the file that Node runs
 */
export async function buildProgram(): Promise<string> {
  const file = `${PROGRAM_FOLDER}/retrai.js`
  if (!(await isBuilt(file, ['src', 'tsdown.config.ts', 'package-lock.json']))) {
    const { build } = await import('tsdown')
    const { default: config } = await import('../../tsdown.config.ts')
    const [program] = config
    await build({ ...program, config: false, cwd: ROOT, outDir: PROGRAM_FOLDER, logLevel: 'error' })
  }
  return `${ROOT}${file}`
}

async function isBuilt(file: string, sources: readonly string[]): Promise<boolean> {
  const built = await newest(file)
  return built > Math.max(...(await Promise.all(sources.map(newest))))
}

/** When a file, or the newest file of a folder, was changed, or 0 if it does not exist. */
async function newest(path: string): Promise<number> {
  const whole = `${ROOT}${path}`
  const stats = await stat(whole).catch(() => null)
  if (stats === null) return 0
  if (!stats.isDirectory()) return stats.mtimeMs
  const inside = await readdir(whole)
  return Math.max(0, ...(await Promise.all(inside.map((name) => newest(`${path}/${name}`)))))
}
