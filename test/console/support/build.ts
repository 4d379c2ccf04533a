import { execFile } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
/** All that the console is built from. */
const SOURCES = ['web/src', 'web/index.html', 'web/vite.config.ts', 'src/domain', 'src/client']
const SOURCES_TOO = ['src/audit', 'src/store', 'src/api/runs.ts', 'package-lock.json']

/** Builds the console if its build is missing or older than what it is made from. */
export async function buildConsole(): Promise<void> {
  const built = await newest('web/dist/index.html')
  const sources = await Promise.all([...SOURCES, ...SOURCES_TOO].map(newest))
  if (built > Math.max(...sources)) return
  await promisify(execFile)('npm', ['run', '--silent', 'build:web'], { cwd: ROOT })
}

/** When a file, or the youngest file of a folder, was changed; 0 for what is not there. */
async function newest(path: string): Promise<number> {
  const whole = `${ROOT}${path}`
  const stats = await stat(whole).catch(() => null)
  if (stats === null) return 0
  if (!stats.isDirectory()) return stats.mtimeMs
  const inside = await readdir(whole)
  return Math.max(0, ...(await Promise.all(inside.map((name) => newest(`${path}/${name}`)))))
}
