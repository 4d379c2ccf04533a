import { lstatSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isWithin } from './sandbox.ts'

/**
 * The `.git` of the repository in which the project is a subfolder; null if the project has its own or there is none.
 * A repository around the home of the server's user is not the project's: it holds settings and their history. Neither is
 * one of another owner, which git would refuse, nor a `.git` that is a link or a file, which leads elsewhere.
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
