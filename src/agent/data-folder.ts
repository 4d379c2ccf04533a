import { statSync } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { dirname, resolve, sep } from 'node:path'
import { codeOf } from '../lib/message-of.ts'
import type { Problem } from './model-problems.ts'

/**
 * Why a run may not work in a folder: the server's data folder is inside it or around it, so the run could read the
 * keys and change the log. A sentence with advice; null if the folders are separate. Folders are compared by their
 * identity, not by name: through links, and in any case on a file system that ignores case.
 */
export async function dataFolderProblem(
  cwd: string,
  dataDir: string | null,
): Promise<string | null> {
  if (dataDir === null) return null
  const [project, data] = await Promise.all([folderAndParents(cwd), folderAndParents(dataDir)])
  if (data.all.includes(project.own)) {
    return (
      `${cwd} contains the server's data folder, so a run there could read its keys and change its log. Stop the ` +
      `server, move ${dataDir} to a place outside of every project, and start the server with --data-dir (RETRAI_DATA_DIR) set to that place.`
    )
  }
  if (!project.all.includes(data.own)) return null
  return `${cwd} is in the server's data folder ${dataDir}. Choose a folder outside of it.`
}

type Identities = { readonly own: string; readonly all: readonly string[] }

/**
 * The identity of a folder and of each folder above it: device and inode, or the path if it does not exist. The look-up
 * of the path visits all of them, which may take long on a slow disk. After that, the system has them in its cache, and
 * synchronous calls are a hundred times as fast as calls in the thread pool.
 */
async function folderAndParents(path: string): Promise<Identities> {
  const all: string[] = []
  let at = await realpath(path).catch(() => resolve(path))
  for (;;) {
    all.push(identityOf(at))
    if (at === dirname(at)) return { own: all[0] ?? at, all }
    at = dirname(at)
  }
}

function identityOf(path: string): string {
  try {
    const { dev, ino } = statSync(path)
    return `${dev}:${ino}`
  } catch {
    return path
  }
}

/** Why a folder cannot be the project of a run. */
export async function folderProblems(cwd: string, dataDir: string | null): Promise<Problem[]> {
  try {
    const [found, clash] = await Promise.all([stat(cwd), dataFolderProblem(cwd, dataDir)])
    const names = (await realpath(cwd)).toLowerCase().split(sep)
    if (names.includes('.git')) {
      const message = `${cwd} is in a folder .git, which git obeys. Name the project's folder.`
      return [{ field: 'cwd', message }]
    }
    if (found.isDirectory()) return clash === null ? [] : [{ field: 'cwd', message: clash }]
    return [{ field: 'cwd', message: `${cwd} is not a directory. Name the project's folder.` }]
  } catch (cause) {
    const reason = codeOf(cause) === 'ENOENT' ? 'does not exist' : 'cannot be opened'
    return [{ field: 'cwd', message: `${cwd} ${reason}. Name an existing directory.` }]
  }
}
