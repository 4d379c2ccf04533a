import { existsSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

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
