import { err, ok, type Result } from 'neverthrow'
import { present } from '../domain/present.ts'
import type { EntryMode } from '../lib/git-objects.ts'
import { removeFolder } from '../lib/remove-folder.ts'
import type { RunCommand } from '../runner/command.ts'
import type { Isolation } from '../sandbox/isolation.ts'
import { COPY } from '../sandbox/sandbox.ts'
import { MAX_FILE_BYTES, WITHIN_MS } from '../snapshots/run-files.ts'
import {
  type Failure,
  inMessages,
  type OpenWorkspace,
  type Project,
  type Workspace,
} from '../workspace/workspace.ts'
import { describeProblem } from '../workspace/workspace-process.ts'

/** What a file of a copy is to be; null: nothing. Its path has the bytes of its names, each as one character, as in trees. */
export type PutFile = {
  readonly path: string
  readonly mode?: EntryMode
  readonly content: Buffer | null
}

/**
 * A copy of a project in a folder of the server, which no command of the run sees. In a container, it is in the place of the
 * project, under its path; elsewhere commands start in its folder. It is removed when it is disposed of, unless the folder was given.
 */
export type CleanCopy = AsyncDisposable & {
  /** How many files it has, and the bytes of all. */
  readonly copied: { readonly files: number; readonly bytes: number }
  /** For `goal.check`, with the two below: its files, and commands that run in it. */
  readonly cwd: string
  readonly files: Workspace
  readonly runCommand: RunCommand
  /** What could not be copied, because it could not be read or is no file, folder or link: 100 paths at most. */
  readonly left: readonly string[]
  /** Makes these files what is given. Follows no link, and makes folders. */
  put(files: readonly PutFile[]): Promise<Result<void, Failure>>
  /** The tree of the copy now, as a snapshot would name it. */
  tree(): Promise<Result<string, Failure>>
}

export type OpenCleanCopy = (asked: {
  readonly project: Project
  readonly run: string
  /** Paths that are not copied, as `left_out` of a snapshot has them. */
  readonly skip: readonly string[]
  /** Where it is made to stay. Nothing is there yet. */
  readonly folder?: string
  readonly signal: AbortSignal
}) => Promise<Result<CleanCopy, string>>

/** The most bytes of a project that is copied, and how long that may take. */
const MAX_BYTES = 16 * 1024 * 1024 * 1024
const COPY_WITHIN_MS = 5 * 60_000
/** A copy that would leave less on the disk is not made. */
const FREE_BYTES = 512 * 1024 * 1024
type Deps = {
  readonly isolation: Pick<Isolation, 'atLeast' | 'level' | 'placeOfCopy'>
  readonly openWorkspace: OpenWorkspace
  readonly runCommand: RunCommand
}

export const cleanCopies =
  ({ isolation: own, openWorkspace, runCommand }: Deps): OpenCleanCopy =>
  async ({ project, run, skip, folder: given, signal }) => {
    const { policy, cwd, folder: known } = project
    const enough = policy?.at_least === undefined ? ok(own) : await own.atLeast(policy.at_least)
    if (enough.isErr()) return err(enough.error)
    const isContained = enough.value.level === 'namespaces'
    const folder = given ?? enough.value.placeOfCopy(run)
    const [made, at] = isContained ? [COPY, cwd] : [folder, folder]
    const opened = new AsyncDisposableStack()
    if (given === undefined) opened.defer(() => removeFolder(folder).catch(() => {}))
    // The one who makes the copy writes what must not be written where commands run, such as files that git obeys.
    const maker = opened.use(
      openWorkspace({ ...project, copy: { folder, replaces: false, at: made } }),
    )
    const limits = { maxBytes: MAX_BYTES, freeBytes: FREE_BYTES }
    const how = { signal, withinMs: COPY_WITHIN_MS }
    const copied = await maker.ask('copy', { to: made, skip, ...limits }, how)
    if (copied.isErr()) {
      await opened.disposeAsync()
      return err(describeProblem('.', copied.error.problem))
    }
    const copy = { folder, replaces: true, at }
    const files = opened.use(openWorkspace({ ...project, copy }))
    return ok({
      cwd: at,
      files,
      copied: copied.value,
      left: copied.value.left,
      runCommand: (command) =>
        runCommand({ ...present({ folder: known }), ...command, project: cwd, copy }),
      async put(wanted) {
        for await (const { files, body } of inMessages(wanted)) {
          const done = await maker.ask('put', { to: made, files }, { body })
          if (done.isErr()) return err(done.error)
        }
        return ok()
      },
      tree: async () => {
        const asked = { maxFileBytes: MAX_FILE_BYTES, maxBytes: 0, salt: '', copyOf: cwd }
        const made = await files.ask('snapshot', asked, { signal, withinMs: WITHIN_MS })
        return made.map(({ tree }) => tree)
      },
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    })
  }
