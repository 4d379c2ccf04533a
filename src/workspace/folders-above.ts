import { existsSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import type { Questions, RulesAbove } from './questions.ts'

/** What the authors of a project write for agents. The first of these in a folder is its document. */
export const DOCUMENTS = ['AGENTS.md', 'CLAUDE.md'] as const
const RULES = ['.ignore', '.gitignore', '.git/info/exclude'] as const
const NAMES = [...DOCUMENTS, ...RULES]
/** A larger file is not read. */
export const MAX_FILE_BYTES = 1024 * 1024
/** Rules are matched with every path. */
const MAX_RULES_CHARS = 64 * 1024

/** A folder above the project, in its repository. */
export type FolderAbove = {
  /** From the root of the repository. */
  readonly folder: string
  /** The project, from the root of the repository. */
  readonly below: string
  readonly documents: readonly (string | null)[]
  readonly rules: RulesAbove
}

/**
 * What holds in a project because of the folders above it, up to the root of its repository, the outermost first. Commands do
 * not see these folders.
 * @param readTexts reads files of a folder, as a program does that has it as its project
 */
export async function foldersAbove(
  cwd: string,
  readTexts: (root: string, asked: Questions['texts']) => Promise<readonly (string | null)[]>,
): Promise<readonly FolderAbove[]> {
  const project = await realpath(cwd).catch(() => cwd)
  const root = repositoryRoot(project)
  if (root === project) return []
  const folders = foldersBetween(root, project)
  const paths = folders.flatMap((folder) => NAMES.map((name) => join(relative(root, folder), name)))
  const texts = await readTexts(root, { paths, maxBytes: MAX_FILE_BYTES })
  return folders.map((folder, index) => {
    const own = texts.slice(index * NAMES.length, (index + 1) * NAMES.length)
    const [ignore, gitignore, exclude] = own.slice(DOCUMENTS.length).map((text) => {
      return text === null || text.length > MAX_RULES_CHARS ? null : text
    })
    const path = `${relative(folder, project)}/`
    return {
      folder: relative(root, folder),
      below: relative(root, project),
      documents: own.slice(0, DOCUMENTS.length),
      rules: { ...{ ignore, gitignore, exclude }, isRepository: folder === root, path },
    }
  })
}

/** The nearest folder with a repository, from the project upwards; the project itself if no folder has one. */
function repositoryRoot(project: string): string {
  for (let folder = project; ; folder = dirname(folder)) {
    if (existsSync(join(folder, '.git'))) return folder
    if (dirname(folder) === folder) return project
  }
}

/** From `root` down to the folder above `project`, which is inside it. */
function foldersBetween(root: string, project: string): string[] {
  const folders: string[] = []
  for (let inner = project; inner !== root; folders.unshift(inner)) inner = dirname(inner)
  return folders
}
