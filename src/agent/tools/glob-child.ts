import { glob, realpath } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'

/**
 * A program of its own: prints the files below the working directory that match a glob, one a line,
 * quoted as JSON where a name has control characters in it. It runs apart because a pattern of the
 * model may take any time and memory to match: a child process has limits and ends with its run.
 */
const [pattern = '', limit = '0'] = process.argv.slice(2)
const LEFT_OUT: ReadonlySet<string> = new Set(['.git', 'node_modules'])

const root = await realpath('.')
const insideByFolder = new Map<string, boolean>()

/** Whether a folder is inside the project once all symbolic links on the way are followed. */
async function isInside(folder: string): Promise<boolean> {
  const known = insideByFolder.get(folder)
  if (known !== undefined) return known
  const real = await realpath(folder).catch(() => null)
  const inside = real !== null && !`${relative(root, real)}${sep}`.startsWith(`..${sep}`)
  insideByFolder.set(folder, inside)
  return inside
}

const printable = (path: string): string => (/\p{Cc}/u.test(path) ? JSON.stringify(path) : path)

let count = 0
const entries = glob(pattern, { withFileTypes: true, exclude: ({ name }) => LEFT_OUT.has(name) })
for await (const entry of entries) {
  if (entry.isDirectory() || !(await isInside(entry.parentPath))) continue
  console.log(printable(relative(root, join(entry.parentPath, entry.name))))
  count += 1
  if (count >= Number(limit)) break
}
