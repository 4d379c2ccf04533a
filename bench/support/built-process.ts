import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'tsdown'
import config, { programs } from '../../tsdown.config.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Builds the module of a process as the package is built: from sources, a thread or a program takes several times as long to start.
 * @returns the module to start
 */
export async function builtProcess(folder: string, module: string): Promise<URL> {
  await mkdir(folder)
  const [program] = config
  const entry = { ...Object.fromEntries(programs), process: module }
  await build({
    ...program,
    entry,
    config: false,
    cwd: ROOT,
    outDir: folder,
    logLevel: 'error',
  })
  for (const name of ['package.json', 'node_modules']) {
    await symlink(join(ROOT, name), join(folder, name))
  }
  return pathToFileURL(join(folder, 'process.js'))
}
