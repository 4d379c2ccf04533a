import { existsSync, realpathSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Whether a path is this folder or below it. Both must be without symbolic links and `..`. */
export const isWithin = (folder: string, path: string): boolean =>
  path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)

/**
 * A module beside another one that is started as a program of its own, such as a worker. Beside a source
 * file it ends in .ts; beside a built one, in .js.
 * @param importer `import.meta.url` of the module that starts it
 */
export const siblingModule = (name: string, importer: string): URL =>
  new URL(`./${name}${extname(importer)}`, importer)

/** The folder with the package.json of retrAI: the checkout, or where the package is installed. */
export const packageFolder = (): string => {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}

/** Where a path leads, or the path if it leads nowhere. */
export function realPathOf(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    return path
  }
}
