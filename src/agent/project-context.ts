import { join } from 'node:path'
import type { ProjectContext } from '../domain/records.ts'
import { sha256 } from '../lib/sha256.ts'
import { processMask } from '../log/masking.ts'
import { characterStart } from '../runner/bounded-text.ts'
import type { Answers } from '../workspace/answers.ts'
import { DOCUMENTS, MAX_FILE_BYTES } from '../workspace/folders-above.ts'
import type { Project, Workspace } from '../workspace/workspace.ts'
import { ignoredKeys } from './goals/project-settings.ts'
import type { InstalledPrograms } from './installed-programs.ts'
import { printedText, searchFiles } from './tools/search-files.ts'

type Deps = {
  readonly programs: InstalledPrograms
  readonly workspace: Workspace
  readonly signal: AbortSignal
}

/** How long one look at the project may take. What is not known by then is left out. */
const WITHIN_MS = 10_000
const MOST_FILES = 1000

/**
 * Reads what an agent is shown of its project before its first reply: the instructions of its authors, its files, its
 * repository and its programs. Bounded in time and size. Never rejects: what cannot be read is left out.
 */
export async function projectContext(
  project: Project,
  { programs: installed, workspace, ...deps }: Deps,
): Promise<ProjectContext> {
  const signal = AbortSignal.any([deps.signal, AbortSignal.timeout(WITHIN_MS)])
  const context = { workspace, signal }
  const [documents, found, status, programs, ignored] = await Promise.all([
    readDocuments(workspace),
    searchFiles({ path: '.', glob: '**/*', limit: MOST_FILES }, {}, context),
    workspace.ask('git', { show: 'status' }, { signal }),
    installed.seenFrom(project, signal),
    ignoredKeys(workspace),
  ])
  const files = found.isErr() || found.value.printed === '' ? null : outline(found.value.printed)
  const git = status.isErr() || 'problem' in status.value ? null : stateOf(status.value)
  return {
    ...{ documents, files, git, programs },
    ...(ignored.length === 0 ? {} : { ignored_keys: [...ignored] }),
  }
}

type Ran = Answers['grep'] & { readonly body: Buffer }
type Document = ProjectContext['documents'][number]

/** The most bytes of all documents of a project together, as in Codex. */
const DOCUMENTS_BYTES = 32 * 1024

/** The documents from the root of the repository down to the project. The nearest comes last, so it counts most. */
async function readDocuments(files: Workspace): Promise<Document[]> {
  const above = await files.above()
  const paths = [...DOCUMENTS]
  const read = await files.ask('texts', { paths, maxBytes: MAX_FILE_BYTES })
  const own = { folder: above.at(-1)?.below ?? '', documents: read.isOk() ? read.value.texts : [] }
  const documents: Document[] = []
  let left = DOCUMENTS_BYTES
  for (const { folder, documents: texts } of [...above, own]) {
    const document = documentOf(folder, texts, left)
    if (document === null) continue
    documents.push(document)
    left -= Buffer.byteLength(document.text)
  }
  return documents
}

/** The first document of a folder. */
function documentOf(
  folder: string,
  texts: readonly (string | null)[],
  left: number,
): Document | null {
  for (const [at, name] of DOCUMENTS.entries()) {
    const whole = processMask.text(texts[at]?.toWellFormed() ?? '')
    if (whole.trim() === '') continue
    const bytes = Buffer.byteLength(whole)
    const text = bytes <= left ? whole : cutTo(whole, left)
    const path = join(folder, name)
    return { path, text, sha256: sha256(whole), bytes, truncated: text !== whole }
  }
  return null
}

/** The most bytes of the list of files, and of the state of the repository. */
const TEXT_BYTES = 8 * 1024
/** Deeper folders are shown with the number of their files. */
const DEPTH = 3
/** Folders that tools make: their contents are shown as a number. */
const MADE =
  /^(?:.*\/)?(?:node_modules|\.?venv|target|dist|build|__pycache__|\.\w+_cache|vendor)(?=\/)/

/** The files of a project as a short list: deep folders, and those that tools make, as the number of their files. */
function outline(listed: string): string {
  const counts = new Map<string, number>()
  for (const path of listed.split('\n').sort()) {
    const shown = MADE.exec(path)?.[0] ?? path.split('/').slice(0, DEPTH).join('/')
    counts.set(shown, (counts.get(shown) ?? 0) + Number(shown !== path))
  }
  const lines = [...counts].map(([path, inside]) => (inside === 0 ? path : `${path}/ (${inside})`))
  return shorten(lines.join('\n'), TEXT_BYTES)
}

function stateOf({ exitCode, isCut, body }: Ran): string | null {
  return exitCode === 0 ? shorten(printedText(body, isCut), TEXT_BYTES) : null
}

/** The beginning of a text, in whole lines. */
function shorten(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text
  const kept = cutTo(text, maxBytes)
  return `${kept.slice(0, kept.lastIndexOf('\n') + 1)}[… there is more …]`
}

function cutTo(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text)
  return bytes.subarray(0, characterStart(bytes, Math.max(0, maxBytes))).toString()
}
