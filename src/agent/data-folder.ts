import { realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

/**
 * Why a run may not work in a folder: the server's data folder is in it or round it, so that the run could read the
 * keys and change the log. A sentence that says how to mend it; null if the folders are apart. Folders are compared
 * by what they are, not by their names: through links, and in whatever case a file system takes.
 */
export async function dataFolderProblem(
  cwd: string,
  dataDir: string | null,
): Promise<string | null> {
  if (dataDir === null) return null
  const [project, data] = await Promise.all([folderAndParents(cwd), folderAndParents(dataDir)])
  if (data.all.includes(project.own)) {
    return (
      `${cwd} has the server's data folder in it, so a run there could read its keys and change its log. Stop the ` +
      `server, move ${dataDir} to a place outside of every project, and start the server with --data-dir (RETRAI_DATA_DIR) set to that place.`
    )
  }
  if (!project.all.includes(data.own)) return null
  return `${cwd} is in the server's data folder ${dataDir}. Name a folder that has nothing of the server in it.`
}

type Identities = { readonly own: string; readonly all: readonly string[] }

/** What a folder and each folder above it is, on its device; the path itself of one that is not there. */
async function folderAndParents(path: string): Promise<Identities> {
  const all: string[] = []
  let at = await realpath(path).catch(() => resolve(path))
  for (;;) {
    const stats = await stat(at).catch(() => null)
    all.push(stats === null ? at : `${stats.dev}:${stats.ino}`)
    if (at === dirname(at)) return { own: all[0] ?? at, all }
    at = dirname(at)
  }
}
