import { lstatSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isWithin } from './sandbox.ts'

/**
 * The `.git` of the repository in which the project is a subfolder; null if the project has its own or there is none.
 * Null, too, if the home of the server's user is in that repository, because it holds settings and their history; if the
 * repository has another owner, because git would refuse it; and if `.git` is a link or a file, because it leads elsewhere.
 * @param project its path, through no link
 */
export function repositoryAbove(project: string, userHome: string): string | null {
  const { uid } = lstatSync(project)
  for (let folder = project; ; folder = dirname(folder)) {
    const path = join(folder, '.git')
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found !== undefined) {
      const isOther = folder === project || (userHome !== '' && isWithin(folder, userHome))
      return isOther || !found.isDirectory() || found.uid !== uid ? null : path
    }
    if (folder === dirname(folder)) return null
  }
}
