import type { CarriedFile } from '../domain/carried-files.ts'
import { type LeftOut, MOST_NAMED } from '../domain/snapshots.ts'
import { shownPath } from '../lib/git-objects.ts'
import { processMask } from '../log/masking.ts'
import { compareTrees, type TreeFile } from '../snapshots/compare-trees.ts'
import { foldersOf } from '../snapshots/patch.ts'
import { entryAt, type ReadTree, type RunFiles } from '../snapshots/run-files.ts'

/** The files of a project at one moment, as far as they are known. */
export type KnownFiles = { readonly tree: string; readonly leftOut: readonly LeftOut[] }

/** A path that is to be as at another moment. */
export type CarriedChange = {
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
    const [from, fresh] = [starts.map(({ tree }) => fileAt(tree, path)), fileAt(to.tree, path)]
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
