import { addAbortListener } from 'node:events'
import { existsSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { err, ok, type Result } from 'neverthrow'
import type { IsolationPolicy } from '../domain/isolation.ts'
import { present } from '../domain/present.ts'
import type { ProjectFolder } from '../domain/run-config.ts'
import { isWithin, packageFolder, siblingModule } from '../lib/paths.ts'
import { within } from '../lib/promises.ts'
import { sha256 } from '../lib/sha256.ts'
import type { ProcessRequest, StartProcess } from '../runner/run-command.ts'
import {
  ANSWERS,
  type Answers,
  type Expected,
  type QuestionName,
  type Questions,
  type WantedFile,
} from './protocol.ts'
import {
  isLost,
  type Reply,
  unanswered,
  type WorkspaceProblem,
  WorkspaceProcess,
} from './workspace-process.ts'

/** The project of a run, or of several. */
export type Project = {
  readonly cwd: string
  /** How the commands of the run are isolated; undefined for a look before there is a run. */
  readonly policy?: IsolationPolicy | undefined
  /** Which folder that is; left out if it is not known. */
  readonly folder?: ProjectFolder
  /** If its files are those of a copy of it, or one is made. */
  readonly copy?: CopyPlace
}

/** A copy of a project, and where programs find it. */
type CopyPlace = NonNullable<ProcessRequest['copy']> & { readonly at: string }

export type Failure = { readonly problem: WorkspaceProblem; readonly path?: string }
/** What is to be at a path: this content, or nothing. */
export type FileChange = Omit<WantedFile, 'bytes'> & { readonly content: string | null }
type ChangedFiles = Answers['change']['done']
type Answered<Name extends QuestionName> = Answers[Name] & { readonly body: Buffer }
type Options = {
  readonly signal?: AbortSignal
  readonly body?: Buffer
  /** How long an answer may take, in milliseconds. After that the program is ended, and another is started. */
  readonly withinMs?: number
}

const WITHIN_MS = 30_000
/** A search holds the names and rules of large projects. The programs that it starts have limits of their own. */
const HEAP_MIB = 512
const MEMORY_BYTES = 2 * 1024 * 1024 * 1024
const PROGRAM = fileURLToPath(siblingModule('workspace-program', import.meta.url))

/** In a checkout, the program imports these; a built one has them in it. */
function programFiles(): string[] {
  const above = packageFolder()
  const sources = ['lib', 'domain'].map((name) => join(dirname(dirname(PROGRAM)), name))
  const ofCheckout = [...sources, join(above, 'node_modules')].filter((path) => existsSync(path))
  return [dirname(PROGRAM), join(above, 'package.json'), ...ofCheckout]
}

export type OpenWorkspace = (project: Project) => Workspace

/**
 * The files of a project, which a program serves that has the user and the mounts of the commands of the run, no network, and a
 * home of its own; none of those commands runs where it runs. It starts with the first question, and again after its death.
 */
export class Workspace implements AsyncDisposable {
  /** Where programs find the files. */
  readonly cwd: string
  readonly #project: Project
  readonly #startProcess: StartProcess
  readonly #stop = new AbortController()
  #process: Promise<WorkspaceProcess> | null = null

  constructor(project: Project, startProcess: StartProcess) {
    const { cwd, copy } = project
    this.cwd = copy?.replaces === true ? copy.at : cwd
    this.#project = project
    this.#startProcess = startProcess
  }

  /** Never rejects. If the program dies meanwhile, the question is repeated once, unless that could do something twice. */
  async ask<Name extends QuestionName>(
    name: Name,
    question: Questions[Name],
    options: Options = {},
  ): Promise<Result<Answered<Name>, Failure>> {
    let reply = await this.#askOnce(name, question, options)
    if (wasLost(reply) && !this.#stop.signal.aborted && isRepeatable(name, question)) {
      reply = await this.#askOnce(name, question, options)
    }
    if (wasLost(reply) && this.#stop.signal.aborted) return err(STOPPED)
    if ('problem' in reply) return err(reply)
    const answer = ANSWERS[name].safeParse(reply.answer)
    if (answer.success) return ok({ ...(answer.data as Answers[Name]), body: reply.body })
    return err(unanswered('lost', 'The program that reads the project answered what is not valid.'))
  }

  /**
   * Puts a text in the place of a file that has this content, by its SHA-256; null: of none. The one way to change a file:
   * it is carried out to its end, also if the run is stopped meanwhile.
   */
  replace(path: string, expected: Expected, text: string): Promise<Result<ChangedFiles, Failure>> {
    return this.replaceAll([{ path, expected, content: text }])
  }

  /** The same for several files: all are changed, or none. */
  async replaceAll(changes: readonly FileChange[]): Promise<Result<ChangedFiles, Failure>> {
    const wanted = changes.map(({ content, ...file }) => {
      return { ...file, content: content === null ? null : Buffer.from(content) }
    })
    const { files, body } = withBody(wanted)
    const changed = await this.ask('change', { files }, { body })
    return changed.map(({ done }) => done)
  }

  async #askOnce(
    name: QuestionName,
    question: object,
    { signal, body, withinMs = WITHIN_MS }: Options,
  ): Promise<Reply> {
    const program = await this.#started()
    const { promise: stopped, resolve } = Promise.withResolvers<Reply>()
    using _ = signal && addAbortListener(signal, () => resolve(STOPPED))
    const reply = Promise.race([stopped, program.ask(name, question, body)])
    const onLate = (): Reply => {
      void program.stop()
      return unanswered('timed_out', `It was stopped at its time limit of ${withinMs / 1000} s.`)
    }
    return await Promise.race([stopped, program.ready.then(() => within(withinMs, reply, onLate))])
  }

  async #started(): Promise<WorkspaceProcess> {
    for (;;) {
      this.#process ??= this.#startProgram()
      const asked = this.#process
      const program = await asked
      if (!program.isOver || this.#stop.signal.aborted) return program
      if (this.#process === asked) this.#process = null
    }
  }

  async #startProgram(): Promise<WorkspaceProcess> {
    const { cwd } = this
    const { cwd: project, policy, folder, copy } = this.#project
    const known = cwd === project ? folder?.path : cwd
    const real = known ?? (await realpath(cwd).catch(() => cwd))
    const flags = [
      `--max-old-space-size=${HEAP_MIB}`,
      '--max-semi-space-size=2',
      '--single-threaded',
    ]
    // What is in the project is seen there. Shown again, it would be read-only.
    const readable = programFiles().filter((path) => !isWithin(real, path))
    const process = await this.#startProcess({
      file: globalThis.process.execPath,
      args: [...flags, PROGRAM, cwd, real],
      cwd,
      project,
      readable,
      maxMemoryBytes: MEMORY_BYTES,
      ...present({ atLeast: policy?.at_least, folder, copy }),
      signal: this.#stop.signal,
    })
    return new WorkspaceProcess(process)
  }

  /** Ends the program. Resolves when nothing of it lives. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await (await this.#process)?.stop()
  }
}

/** Files as a question names them, and their contents as its body. */
const withBody = <F extends { readonly content: Buffer | null }>(group: readonly F[]) => ({
  files: group.map(({ content, ...file }) => ({ ...file, bytes: content?.length ?? null })),
  body: Buffer.concat(group.flatMap(({ content }) => content ?? [])),
})

/** How much is sent at once, so that no message is too long. */
const MESSAGE_BYTES = 32 * 1024 * 1024

/** The same for as many files at once as one message should hold. */
export async function* inMessages<F extends { readonly content: Buffer | null }>(
  files: Iterable<F> | AsyncIterable<F>,
) {
  let group: F[] = []
  let bytes = 0
  for await (const file of files) {
    group.push(file)
    bytes += file.content?.length ?? 0
    if (bytes < MESSAGE_BYTES) continue
    yield { group, ...withBody(group) }
    group = []
    bytes = 0
  }
  if (group.length > 0) yield { group, ...withBody(group) }
}

const STOPPED = unanswered('aborted', 'It was stopped with the run.')

const wasLost = (reply: Reply): boolean => 'problem' in reply && isLost(reply.problem)

/** A change of content can be repeated: it has no effect if it was made. That a file is gone does not say who removed it. */
function isRepeatable<Name extends QuestionName>(name: Name, question: Questions[Name]): boolean {
  if (name === 'rename' || name === 'remove' || name === 'copy') return false
  return !('files' in question) || question.files.every(({ bytes }) => bytes !== null)
}

export type WholeFile = {
  /** Relative to the project. */
  readonly shown: string
  readonly content: Buffer
  readonly mode: number
  readonly sha256: string
}

type Asked = {
  readonly path: string
  readonly maxBytes: number
  readonly isToWrite?: boolean
  readonly signal?: AbortSignal
}

/** The content of a regular file of the project, of at most `maxBytes`. */
export async function readWhole(
  workspace: Workspace,
  { path, maxBytes, isToWrite = false, signal }: Asked,
): Promise<Result<WholeFile, Failure>> {
  const asked = { path, bytes: maxBytes + 1, isToWrite }
  const read = await workspace.ask('read', asked, signal && { signal })
  if (read.isErr()) return err(read.error)
  const { shown, mode, body: content } = read.value
  if (content.length > maxBytes) return err({ problem: { type: 'too_large', maxBytes } })
  return ok({ shown, content, mode, sha256: sha256(content) })
}
