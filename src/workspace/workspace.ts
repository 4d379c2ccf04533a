import { existsSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { err, ok, type Result } from 'neverthrow'
import type { IsolationPolicy } from '../domain/isolation.ts'
import { present } from '../domain/present.ts'
import type { ProjectFolder } from '../domain/project-folder.ts'
import { isWithin } from '../lib/is-within.ts'
import { packageFolder, siblingModule } from '../lib/package-files.ts'
import type { StartProcess } from '../runner/start-process.ts'
import { ANSWERS, type Answers } from './answers.ts'
import { Connection, type Reply, unanswered, type WorkspaceProblem } from './connection.ts'
import { type FolderAbove, foldersAbove } from './folders-above.ts'
import type { QuestionName, Questions } from './questions.ts'

/** The project of a run, or of several. */
export type Project = {
  readonly cwd: string
  /** How the commands of the run are isolated; undefined for a look before there is a run. */
  readonly policy?: IsolationPolicy | undefined
  /** Which folder that is; left out if it is not known. */
  readonly folder?: ProjectFolder
}

export type Failure = { readonly problem: WorkspaceProblem; readonly path?: string }
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
  const packages = ['ignore', 'yaml'].map((name) => join(above, 'node_modules', name))
  const sources = join(dirname(dirname(PROGRAM)), 'lib')
  const ofCheckout = [sources, ...packages].filter((path) => existsSync(path))
  return [dirname(PROGRAM), join(above, 'package.json'), ...ofCheckout]
}

export type OpenWorkspace = (project: Project) => Workspace

/**
 * The files of a project, which a program serves that has the user and the mounts of the commands of the run, no network, and a
 * home of its own; none of those commands runs where it runs. It starts with the first question, and again after its death.
 */
export class Workspace implements AsyncDisposable {
  readonly cwd: string
  readonly #policy: IsolationPolicy | undefined
  readonly #folder: ProjectFolder | undefined
  readonly #startProcess: StartProcess
  readonly #stop = new AbortController()
  #connection: Promise<Connection> | null = null
  #above: Promise<readonly FolderAbove[]> | null = null

  constructor({ cwd, policy, folder }: Project, startProcess: StartProcess) {
    this.cwd = cwd
    this.#policy = policy
    this.#folder = folder
    this.#startProcess = startProcess
  }

  /** Starts the program, so that the first question need not wait for that. */
  start(): void {
    this.#connection ??= this.#connect()
  }

  /** What holds in the project because of the folders above it, as it was when somebody asked first. Never rejects. */
  above(): Promise<readonly FolderAbove[]> {
    this.#above ??= foldersAbove(this.cwd, async (root, asked) => {
      await using files = new Workspace({ cwd: root, policy: this.#policy }, this.#startProcess)
      const read = await files.ask('texts', asked)
      return read.isOk() ? read.value.texts : []
    })
    return this.#above
  }

  /** Never rejects. If the program dies meanwhile, the question is repeated once, unless that could do something twice. */
  async ask<Name extends QuestionName>(
    name: Name,
    question: Questions[Name],
    options: Options = {},
  ): Promise<Result<Answered<Name>, Failure>> {
    let reply = await this.#askOnce(name, question, options)
    if (isLost(reply) && !this.#stop.signal.aborted && isRepeatable(name, question)) {
      reply = await this.#askOnce(name, question, options)
    }
    if (isLost(reply) && this.#stop.signal.aborted) return err(STOPPED)
    if ('problem' in reply) return err(reply)
    const answer = ANSWERS[name].safeParse(reply.answer)
    if (answer.success) return ok({ ...(answer.data as Answers[Name]), body: reply.body })
    return err(unanswered('lost', 'The program that reads the project answered what is not valid.'))
  }

  async #askOnce(
    name: QuestionName,
    question: object,
    { signal, body, withinMs = WITHIN_MS }: Options,
  ): Promise<Reply> {
    const connection = await this.#connected()
    const { promise: stopped, resolve } = Promise.withResolvers<Reply>()
    const onAbort = (): void => resolve(STOPPED)
    let timer: ReturnType<typeof setTimeout> | undefined
    void connection.ready.then(() => {
      timer = setTimeout(() => {
        const message = `It was stopped at its time limit of ${withinMs / 1000} s.`
        resolve(unanswered('timed_out', message))
        void connection.stop()
      }, withinMs)
    })
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted) onAbort()
    const reply = await Promise.race([stopped, connection.ask(name, question, body)])
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    return reply
  }

  async #connected(): Promise<Connection> {
    for (;;) {
      this.#connection ??= this.#connect()
      const asked = this.#connection
      const connection = await asked
      if (!connection.isOver || this.#stop.signal.aborted) return connection
      if (this.#connection === asked) this.#connection = null
    }
  }

  async #connect(): Promise<Connection> {
    const { cwd } = this
    const real = this.#folder?.path ?? (await realpath(cwd).catch(() => cwd))
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
      ...{ cwd, project: cwd, readable, maxMemoryBytes: MEMORY_BYTES },
      ...present({ atLeast: this.#policy?.at_least, folder: this.#folder }),
      signal: this.#stop.signal,
    })
    return new Connection(process)
  }

  /** Ends the program. Resolves when nothing of it lives. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await (await this.#connection)?.stop()
  }
}

const STOPPED = unanswered('aborted', 'It was stopped with the run.')

const isLost = (reply: Reply): boolean =>
  'problem' in reply && reply.problem.type === 'unanswered' && reply.problem.why === 'lost'

/** A change of content can be repeated: it has no effect if it was made. That a file is gone does not say who removed it. */
function isRepeatable<Name extends QuestionName>(name: Name, question: Questions[Name]): boolean {
  if (name === 'rename' || name === 'remove') return false
  return !('files' in question) || question.files.every(({ bytes }) => bytes !== null)
}
