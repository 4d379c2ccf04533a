import { err, ok, type Result } from 'neverthrow'
import type { CarriedFile } from '../domain/carried-files.ts'
import type { CarryError } from '../domain/errors.ts'
import { type LeftOut, MOST_NAMED } from '../domain/snapshots.ts'
import { shownPath } from '../lib/git-objects.ts'
import { maskedPath, processMask } from '../masking/process-mask.ts'
import { compareTrees, type TreeFile } from '../snapshots/compare-trees.ts'
import { foldersOf } from '../snapshots/patch.ts'
import { entryAt, type ReadTree, type RunFiles } from '../snapshots/run-files.ts'
import { type Failure, inMessages, type Workspace } from '../workspace/workspace.ts'
import { describeProblem } from '../workspace/workspace-process.ts'

/** The files of a project at one moment, as far as they are known. */
type KnownFiles = { readonly tree: string; readonly leftOut: readonly LeftOut[] }

/** A path that is to be as at another moment. */
type CarriedChange = {
  /** The bytes of the path, each as one character (latin1). */
  readonly path: string
  readonly action: CarriedFile['action']
  /** What it may have been before; null: nothing. */
  readonly from: readonly (TreeFile | null)[]
  readonly to: TreeFile | null
}

export type CarriedChanges = {
  /** In the order of their paths. */
  readonly changes: readonly CarriedChange[]
  /** What snapshots leave out, and what is gone: never written, and never deleted. 100 paths at most. */
  readonly notCarried: readonly string[]
  /** How many paths differ of which the content is gone. */
  readonly gone: number
}

/**
 * What makes files those of `to`.
 * @param starts moments at one of which they are
 * @param readTree the entries of all folders
 */
export async function carriedChanges(
  starts: readonly KnownFiles[],
  to: KnownFiles,
  files: Pick<RunFiles, 'tree' | 'holds'>,
  readTree: ReadTree = (id) => files.tree(id),
): Promise<CarriedChanges> {
  const left = [...starts, to].flatMap(({ leftOut }) => leftOut.map(({ path }) => path))
  const gone = new Set<string>()
  const paths = new Set<string>()
  for (const { tree } of starts) {
    const found = await compareTrees(tree, to.tree, async (id) => readTree(id))
    for (const path of found.unknown) gone.add(path)
    for (const { path, oldPath = path } of found.changes) paths.add(path).add(oldPath)
  }
  const fileAt = (tree: string, path: string): TreeFile | null => {
    const { mode, id } = entryAt(readTree, tree, path) ?? { mode: '40000', id: '' }
    return mode === '40000' ? null : { mode, id }
  }
  const wanted = [...paths].toSorted().map((path): CarriedChange => {
    const from = starts.map(({ tree }) => fileAt(tree, path))
    const fresh = fileAt(to.tree, path)
    const isSame = fresh !== null && from[0]?.id === fresh.id
    return { path, action: fresh === null ? 'delete' : isSame ? 'mode' : 'write', from, to: fresh }
  })
  for (const { path, to: fresh } of wanted) {
    if ((fresh !== null && !files.holds(fresh.id)) || isObeyed(path)) gone.add(path)
  }
  const lost = [...gone].map(shownPath)
  const stays = placesOf([...lost, ...left])
  const changes = wanted.filter(({ path }) => !stays(shownPath(path)))
  const notCarried = [...new Set([...lost, ...left].map(processMask.text))].slice(0, MOST_NAMED)
  return { changes, notCarried, gone: gone.size }
}

/** What git or this server obeys is changed by people only. Containers show it read-only. */
const isObeyed = (path: string): boolean =>
  path.toLowerCase() === '.retrai.yml' || path.toLowerCase().split('/').includes('.git')

/** Whether a path is one of these, in one of them, or above one of them. */
function placesOf(paths: readonly string[]): (path: string) => boolean {
  const all = new Set(paths)
  const above = new Set(paths.flatMap(foldersOf))
  return (path) =>
    all.has('') || above.has(path) || [path, ...foldersOf(path)].some((one) => all.has(one))
}

/** What was carried, or would be: what is as it is to be already is not among the files. */
export type Carried = {
  readonly files: readonly (CarriedFile & { readonly conflict?: string })[]
  readonly not_carried: readonly string[]
  readonly patch?: string
  readonly branch?: string
  readonly commit?: string
  /** That of the record. */
  readonly seq?: number
}

/** How long all of the files may take. */
const WITHIN_MS = 5 * 60_000
const CONFLICT = 'Somebody has changed it since, or it cannot come where something else is.'

export const shown = ({ path, action }: Pick<CarriedChange, 'path' | 'action'>) => ({
  path: maskedPath(path),
  action,
})

const notCarried = ({ problem, path = '.' }: Failure): CarryError => ({
  type: 'not_carried',
  message: describeProblem(path, problem),
})

/** Writes all of the changes that are not made yet, or none if one of them is in conflict. */
export async function write(
  workspace: Workspace,
  { changes, notCarried: not_carried }: CarriedChanges,
  runFiles: RunFiles,
  isLook: boolean,
): Promise<Result<Carried, CarryError>> {
  const how = { withinMs: WITHIN_MS }
  const asked = changes.map(({ path, from, to }) => ({ path, from, to, bytes: null }))
  const looked = await workspace.ask('carry', { files: asked, isLook: true }, how)
  if (looked.isErr()) return err(notCarried(looked.error))
  const { found } = looked.value
  const due = changes.filter((_, at) => found[at] === 'due')
  const inWay = changes.filter((_, at) => found[at] === 'other')
  if (isLook) {
    const wrong = inWay.map((one) => ({ ...shown(one), conflict: CONFLICT }))
    const both = [...due.map(shown), ...wrong].toSorted((a, b) => (a.path < b.path ? -1 : 1))
    return ok({ files: both, not_carried })
  }
  const inConflict = (all: readonly CarriedChange[]): CarryError => ({
    type: 'in_conflict',
    files: all.map(({ path }) => ({ path: maskedPath(path), why: CONFLICT })),
  })
  if (inWay.length > 0) return err(inConflict(inWay))
  // What is in the way of a file goes before it.
  const order = due.toSorted((a, b) => Number(a.to !== null) - Number(b.to !== null))
  for await (const { group, files, body } of inMessages(withContents(order, runFiles))) {
    const lost = group.find(({ to, content }) => to !== null && content === null)
    if (lost !== undefined) {
      const message = `The content of ${maskedPath(lost.path)} is lost.`
      return err({ type: 'not_carried', message })
    }
    const done = await workspace.ask('carry', { files, isLook: false }, { ...how, body })
    if (done.isErr()) return err(notCarried(done.error))
    const late = group.filter((_, at) => done.value.found[at] === 'other')
    if (late.length > 0) return err(inConflict(late))
  }
  return ok({ files: due.map(shown), not_carried })
}

/** Each content is read only when it is its turn. */
async function* withContents(changes: readonly CarriedChange[], files: RunFiles) {
  for (const change of changes) {
    yield { ...change, content: change.to && (await files.blob(change.to.id)) }
  }
}

/** Makes a branch with a patch on top of HEAD, and changes nothing else in the repository. */
export async function makeBranch(
  workspace: Workspace,
  all: Pick<Carried, 'not_carried'> & { readonly files: readonly CarriedFile[] },
  asked: { name: string; message: string; patch: Buffer; dry_run: boolean },
): Promise<Result<Carried, CarryError>> {
  const { name, message, patch: body, dry_run: isLook } = asked
  const made = await workspace.ask(
    'branch',
    { name, message, isLook },
    { withinMs: WITHIN_MS, body },
  )
  if (made.isErr()) return err(notCarried(made.error))
  const { commit, problem } = made.value
  const conflicts = made.value.conflicts.map(processMask.text)
  if (problem !== null) return err({ type: 'not_carried', message: problem })
  const why =
    'HEAD of the project has something else there, or not all that was there at the start.'
  if (isLook) {
    const inWay = new Set(conflicts)
    const files = all.files.map((file) =>
      inWay.has(file.path) ? { ...file, conflict: why } : file,
    )
    return ok({ ...all, files })
  }
  if (commit === null)
    return err({ type: 'in_conflict', files: conflicts.map((path) => ({ path, why })) })
  return ok({ ...all, branch: name, commit })
}
