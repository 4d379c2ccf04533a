import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'tsdown'
import config from '../../tsdown.config.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Builds the module of a process as the package is built: from sources, a thread takes several times as long to start.
 * @param threads the modules of the threads that it starts, by name
 * @returns the module to start
 */
export async function builtProcess(
  folder: string,
  module: string,
  threads: Readonly<Record<string, string>> = {},
): Promise<URL> {
  await mkdir(folder)
  const [program] = config
  const entry = { process: module, ...threads }
  await build({
    ...program,
    ...{ entry, config: false, cwd: ROOT, outDir: folder, logLevel: 'error' },
  })
  return pathToFileURL(join(folder, 'process.js'))
}
