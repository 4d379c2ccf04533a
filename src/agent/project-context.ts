import { realpath } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { present } from '../domain/present.ts'
import type { ProjectContext } from '../domain/records.ts'
import { sha256 } from '../lib/sha256.ts'
import { processMask } from '../log/masking.ts'
import { characterStart } from '../runner/bounded-text.ts'
import { ignoredKeys } from './goals/project-settings.ts'
import type { InstalledPrograms, Project } from './installed-programs.ts'
import { readConfined } from './tools/confine.ts'
import { foldersBetween, repositoryRoot } from './tools/search-files.ts'
import type { Looking } from './tools/tool.ts'

type Deps = {
  readonly toolbox: Looking
  readonly programs: InstalledPrograms
  /** The server's data folder, which is not read; null if there is none. */
  readonly dataDir: string | null
  readonly signal: AbortSignal
}

/** How long one look at the project may take. What is not known by then is left out. */
const WITHIN_MS = 10_000

/**
 * Reads what an agent is shown of its project before its first reply: the instructions of its authors, its files, its
 * repository and its programs. Bounded in time and size. Never rejects: what cannot be read is left out.
 */
export async function projectContext(project: Project, deps: Deps): Promise<ProjectContext> {
  const signal = AbortSignal.any([deps.signal, AbortSignal.timeout(WITHIN_MS)])
  const { cwd, policy, folder } = project
  // A look is of no run: several share it, and it may end after the run that began it.
  const context = { cwd, signal, ...present({ policy, folder }) }
  const [documents, files, git, programs, ignored] = await Promise.all([
    readDocuments(folder?.path ?? cwd, deps.dataDir),
    deps.toolbox.look('find_files', { pattern: '**/*' }, context).then(outline),
    deps.toolbox.look('git_status', {}, context),
    deps.programs.seenFrom(project, signal),
    ignoredKeys(cwd),
  ])
  return {
    ...{ documents, files, git: git && shorten(git, TEXT_BYTES), programs },
    ...(ignored.length === 0 ? {} : { ignored_keys: [...ignored] }),
  }
}

type Look = {
  readonly found: Promise<ProjectContext>
  readonly stop: AbortController
  /** How many runs wait for it. */
  wanted: number
}

const NOTHING: ProjectContext = { documents: [], files: null, git: null, programs: null }

/**
 * Looks at projects. A look starts several commands, so there is only one at a time in a project, and the runs that begin
 * meanwhile share the next one. So no run gets the result of a look that began before it asked.
 */
export class ProjectLooks {
  readonly #look: (project: Project, signal: AbortSignal) => Promise<ProjectContext>
  /** The last look in each project that has not ended. */
  readonly #last = new Map<string, Look>()
  /** Those of them that have not begun. */
  readonly #planned = new Map<string, Look>()

  constructor(look: (project: Project, signal: AbortSignal) => Promise<ProjectContext>) {
    this.#look = look
  }

  /** Resolves at once when `signal` aborts. A look that nobody waits for any more is stopped. */
  of(project: Project, signal: AbortSignal): Promise<ProjectContext> {
    const key = JSON.stringify(project)
    const look = this.#planned.get(key) ?? this.#plan(key, project)
    look.wanted += 1
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        look.wanted -= 1
        if (look.wanted === 0) {
          look.stop.abort()
          if (this.#planned.get(key) === look) this.#planned.delete(key)
        }
        resolve(NOTHING)
      }
      signal.addEventListener('abort', leave, { once: true })
      if (signal.aborted) leave()
      void look.found
        .then(resolve, reject)
        .finally(() => signal.removeEventListener('abort', leave))
    })
  }

  #plan(key: string, project: Project): Look {
    const stop = new AbortController()
    const before = this.#last.get(key)?.found ?? Promise.resolve()
    const begin = async (): Promise<ProjectContext> => {
      if (this.#planned.get(key) === look) this.#planned.delete(key)
      return stop.signal.aborted ? NOTHING : this.#look(project, stop.signal)
    }
    // A look that failed is the concern of the runs that waited for it.
    const found = before.then(begin, begin)
    const look: Look = { found, stop, wanted: 0 }
    this.#planned.set(key, look)
    this.#last.set(key, look)
    const end = (): void => {
      if (this.#last.get(key) === look) this.#last.delete(key)
    }
    void found.then(end, end)
    return look
  }
}

type Document = ProjectContext['documents'][number]

/** The most bytes of all documents of a project together, as in Codex. */
const DOCUMENTS_BYTES = 32 * 1024
/** A larger file is not read. */
const MAX_FILE_BYTES = 1024 * 1024
/** The first of these in a folder is its document. */
const NAMES = ['AGENTS.md', 'CLAUDE.md']

/** The documents from the root of the repository down to the project. The nearest comes last, so it counts most. */
async function readDocuments(cwd: string, dataDir: string | null): Promise<Document[]> {
  const documents: Document[] = []
  let left = DOCUMENTS_BYTES
  try {
    const project = await realpath(cwd)
    const root = await repositoryRoot(project)
    for (const folder of foldersBetween(root, project)) {
      const document = await readDocument(root, relative(root, folder), dataDir, left)
      if (document === null) continue
      documents.push(document)
      left -= Buffer.byteLength(document.text)
    }
  } catch {
    // The project was moved meanwhile.
  }
  return documents
}

async function readDocument(
  root: string,
  folder: string,
  dataDir: string | null,
  left: number,
): Promise<Document | null> {
  for (const name of NAMES) {
    const path = join(folder, name)
    const content = await readConfined({ cwd: root, dataDir }, path, MAX_FILE_BYTES)
    if (content.isErr()) continue
    const whole = processMask.text(content.value.toString().toWellFormed())
    if (whole.trim() === '') continue
    const bytes = Buffer.byteLength(whole)
    const text = bytes <= left ? whole : cutTo(whole, left)
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
function outline(listed: string | null): string | null {
  if (listed === null) return null
  const counts = new Map<string, number>()
  for (const path of listed.split('\n')) {
    const shown = MADE.exec(path)?.[0] ?? path.split('/').slice(0, DEPTH).join('/')
    counts.set(shown, (counts.get(shown) ?? 0) + Number(shown !== path))
  }
  const lines = [...counts].map(([path, inside]) => (inside === 0 ? path : `${path}/ (${inside})`))
  return shorten(lines.join('\n'), TEXT_BYTES)
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
