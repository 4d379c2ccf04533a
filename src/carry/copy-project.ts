import { chmod, lstat, mkdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import type { ArtifactSource } from '../artifacts/artifacts.ts'
import type { ProjectCopied } from '../domain/carried-files.ts'
import type { Origin } from '../domain/related-runs.ts'
import type { ProjectFolder } from '../domain/run-config.ts'
import { type LeftOut, MOST_NAMED } from '../domain/snapshots.ts'
import type { RunState } from '../domain/state.ts'
import { decodeTree } from '../lib/git-objects.ts'
import { readPack } from '../lib/git-pack.ts'
import { messageOf, throwIfShort } from '../lib/message-of.ts'
import { removeFolder } from '../lib/remove-folder.ts'
import { load } from '../log/run-log.ts'
import type { StreamReader } from '../log/stream-pages.ts'
import { folderAt, projectProblem } from '../sandbox/project-folder.ts'
import { leftOutOf } from '../snapshots/changes.ts'
import { type FilesOf, MAX_FILE_BYTES, snapshotsOf, WITHIN_MS } from '../snapshots/run-files.ts'
import { describeProblem } from '../workspace/workspace-process.ts'
import { carriedChanges, write } from './carried.ts'
import type { CleanCopy, OpenCleanCopy } from './clean-copy.ts'

type Work = {
  readonly session: { readonly state: RunState; readonly store: StreamReader }
  readonly effects: {
    readonly openCleanCopy: OpenCleanCopy
    readonly filesOf: FilesOf
    readonly readArtifact: ArtifactSource['read']
  }
  readonly signal: AbortSignal
}
type Restored = Pick<ProjectCopied, 'snapshot' | 'not_restored'>

/**
 * Makes the copy that the run works in, with the files of a snapshot if it begins from another run. The copy gets its name when it is
 * complete. The error is a sentence. Rejects if the place of the artifacts cannot be read now.
 */
export async function copyProject(work: Work): Promise<Result<ProjectCopied, string>> {
  const { session, effects, signal } = work
  const { copy, config, origin, isolation: policy, runId: run } = session.state
  if (copy === undefined) return err('The run works in no copy')
  const source = origin === undefined ? copy.of : await folderOf(origin, copy.of, session.store)
  const home = dirname(config.cwd)
  try {
    await makeHome(home)
  } catch (cause) {
    throwIfShort(cause)
    return err(`${dirname(home)} must be a folder of the server's user: ${messageOf(cause)}`)
  }
  // A linked worktree leads to the repository of the project.
  const git = await lstat(join(source.path, '.git')).catch(() => null)
  const skip = [...(config.workspace_skip ?? []), ...(git?.isFile() ? ['.git'] : [])]
  const folder = join(home, '.making')
  const project = { cwd: source.path, policy, folder: source }
  const opened = await effects.openCleanCopy({ project, run, skip, folder, signal })
  if (opened.isErr()) return err(`The project cannot be copied: ${opened.error}`)
  const { copied, left } = opened.value
  await using made = opened.value
  const restored = origin === undefined ? ok({}) : await restore(made, origin, work)
  if (restored.isErr()) return err(restored.error)
  await rename(folder, config.cwd)
  const notCopied = [...skip, ...left].slice(0, MOST_NAMED)
  return ok({
    project: folderAt(config.cwd),
    files: copied.files,
    bytes: copied.bytes,
    ...(notCopied.length === 0 ? {} : { not_copied: notCopied }),
    ...restored.value,
  })
}

/** Only the user who runs its commands can read a copy, and must reach it. */
async function makeHome(home: string): Promise<void> {
  await removeFolder(home)
  for (const folder of [dirname(home), home]) {
    await mkdir(folder, { recursive: true })
    await chmod(folder, 0o711)
  }
}

/** Where the origin of a run has its files now. */
async function folderOf(
  { run_id }: Origin,
  project: ProjectFolder,
  store: StreamReader,
): Promise<ProjectFolder> {
  const origin: RunState | undefined = (await load(store, run_id)).unwrapOr(null)?.state
  const own = origin?.copy?.is === 'made' ? origin.project : undefined
  return own !== undefined && projectProblem(own.path, own) === null ? own : project
}

/** Makes the files of the copy those that the origin had. What its snapshot does not hold stays as it is. */
async function restore(
  copy: CleanCopy,
  { run_id, seq }: Origin,
  { session, effects, signal }: Work,
): Promise<Result<Restored, string>> {
  const lost = err(`The snapshot of the run ${run_id} is lost`)
  const all = await snapshotsOf(session.store, run_id)
  if (all.isErr()) return lost
  // Before its first snapshot, its agent has not worked yet.
  const there = all.value.findLast((one) => one.seq <= seq) ?? all.value[0]
  if (there === undefined) {
    const before = (await load(session.store, run_id)).unwrapOr(null)?.state.origin
    return before === undefined ? ok({}) : restore(copy, before, { session, effects, signal })
  }
  const files = await effects.filesOf(run_id)
  const leftOut = await leftOutOf(there, { read: effects.readArtifact })
  const isThere = files?.tree(there.snapshot.tree) != null
  if (!leftOut || !isThere || files === null) return lost
  const now = await filesNow(copy, signal)
  if (now.isErr()) return err(describeProblem('.', now.error.problem))
  const { tree } = there.snapshot
  const changes = await carriedChanges([now.value], { tree, leftOut }, files, (id) => {
    return files.tree(id) ?? now.value.treeOf(id)
  })
  const written = await write(copy.files, changes, files, false)
  if (written.isErr()) return err(`The files of the run ${run_id} cannot be written`)
  const { notCarried } = changes
  return ok({
    snapshot: { run_id, seq: there.seq, tree },
    ...(notCarried.length === 0 ? {} : { not_restored: notCarried }),
  })
}

/** What is in a copy. */
async function filesNow({ files }: CleanCopy, signal: AbortSignal) {
  const how = { signal, withinMs: WITHIN_MS }
  const kept = { maxBytes: 0, maxTreeBytes: Number.MAX_SAFE_INTEGER }
  const now = await files.ask('snapshot', { maxFileBytes: MAX_FILE_BYTES, salt: '', ...kept }, how)
  if (now.isErr()) return err(now.error)
  const { tree, packs, left_out, body } = now.value
  const trees = new Map<string, Buffer>()
  for (let number = 0; number < packs; number += 1) {
    const pack = await files.ask('pack', { number }, how)
    if (pack.isErr()) return err(pack.error)
    for (const { id, content } of readPack(pack.value.body).unwrapOr([])) trees.set(id, content)
  }
  const leftOut: readonly LeftOut[] = left_out ?? JSON.parse(body.toString())
  const treeOf = (id: string) => decodeTree(trees.get(id) ?? Buffer.of(0))
  return ok({ tree, leftOut, treeOf })
}
