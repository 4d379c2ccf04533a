import { type Dirent, existsSync } from 'node:fs'
import { constants, glob, lstat, open, readlink, realpath } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'

/**
 * A separate program: prints the files below the working directory that match a glob, one per line, as JSON if a name
 * has control characters. A pattern of the model may take any time and memory to match, and a child process has limits
 * and ends with its run.
 */
const [pattern = '', limit = '0'] = process.argv.slice(2)
const SKIPPED: ReadonlySet<string> = new Set(['.git', 'node_modules'])

const root = await realpath('.')
const hasDescriptors = existsSync('/proc/self/fd')

/**
 * Whether this file is inside the project when all symbolic links to its folder are followed. The open folder is asked
 * where it is, because something else may have been put at its path. Without /proc (macOS) only the path can be
 * checked.
 */
async function isInProject({ parentPath, name }: Dirent): Promise<boolean> {
  const folder = await open(parentPath, constants.O_RDONLY | constants.O_DIRECTORY).catch(
    () => null,
  )
  if (folder === null) return false
  try {
    const path = hasDescriptors ? `/proc/self/fd/${folder.fd}` : parentPath
    const real = hasDescriptors ? await readlink(path) : await realpath(path)
    await lstat(join(path, name))
    return !`${relative(root, real)}${sep}`.startsWith(`..${sep}`)
  } catch {
    return false
  } finally {
    await folder.close()
  }
}

const printable = (path: string): string => (/\p{Cc}/u.test(path) ? JSON.stringify(path) : path)

let count = 0
const entries = glob(pattern, { withFileTypes: true, exclude: ({ name }) => SKIPPED.has(name) })
for await (const entry of entries) {
  if (entry.isDirectory() || !(await isInProject(entry))) continue
  console.log(printable(relative(root, join(entry.parentPath, entry.name))))
  count += 1
  if (count >= Number(limit)) break
}
