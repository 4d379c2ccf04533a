import type { CarriedFile } from '../domain/carried-files.ts'
import { type LeftOut, MOST_NAMED } from '../domain/snapshots.ts'
import { shownPath, type TreeEntry } from '../lib/git-objects.ts'
import { compareTrees, type TreeFile } from './compare-trees.ts'
import { foldersOf } from './patch.ts'
import type { RunFiles } from './run-files.ts'

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
 * @param treeOf the entries of a folder that `files` does not have
 */
export async function carriedChanges(
  starts: readonly KnownFiles[],
  to: KnownFiles,
  files: Pick<RunFiles, 'tree' | 'holds'>,
  treeOf: (id: string) => readonly TreeEntry[] | null = () => null,
): Promise<CarriedChanges> {
  const readTree = async (id: string) => files.tree(id) ?? treeOf(id)
  const left = [...starts, to].flatMap(({ leftOut }) => leftOut.map(({ path }) => path))
  const gone = new Set<string>()
  const found = new Map<string, { from: Map<number, TreeFile | null>; to: TreeFile | null }>()
  for (const [at, { tree }] of starts.entries()) {
    const { changes, unknown } = await compareTrees(tree, to.tree, readTree)
    for (const path of unknown) gone.add(path)
    // A file in the place of a link is in it twice: deleted, and then added.
    for (const { path, oldPath = path, old, new: fresh } of changes) {
      if (oldPath !== path) note(found, { path: oldPath, at, old, fresh: null })
      note(found, { path, at, old: oldPath === path ? old : null, fresh })
    }
  }
  const isLeft = placesOf(left)
  const isGone = placesOf([...gone].map(shownPath))
  const isKept = (path: string): boolean => !isLeft(path) && !isGone(path)
  const changes: CarriedChange[] = []
  for (const [path, { from, to: fresh }] of [...found].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if ((fresh !== null && !files.holds(fresh.id)) || isObeyed(path)) gone.add(path)
    else if (isKept(path)) {
      // At a moment without a difference, it was as it is to be.
      const known = [...from.values()]
      changes.push({ path, action: actionOf(known[0] ?? null, fresh), from: known, to: fresh })
    }
  }
  const notCarried = [...new Set([...[...gone].map(shownPath), ...left])].slice(0, MOST_NAMED)
  return { changes, notCarried, gone: gone.size }
}

/** What git or this server obeys is changed by people only. Containers show it read-only. */
const isObeyed = (path: string): boolean =>
  path.toLowerCase() === '.retrai.yml' || path.toLowerCase().split('/').includes('.git')

/** Whether a path is one of these, in one of them, or above one of them. They are as people read them. */
function placesOf(paths: readonly string[]): (path: string) => boolean {
  const all = new Set(paths)
  const above = new Set(paths.flatMap(foldersOf))
  return (bytes) => {
    const path = shownPath(bytes)
    return all.has('') || above.has(path) || [path, ...foldersOf(path)].some((one) => all.has(one))
  }
}

type Noted = { path: string; at: number; old: TreeFile | null; fresh: TreeFile | null }

function note(
  found: Map<string, { from: Map<number, TreeFile | null>; to: TreeFile | null }>,
  { path, at, old, fresh }: Noted,
): void {
  const known = found.get(path) ?? { from: new Map(), to: null }
  const before = known.from.get(at)
  known.from.set(at, before ?? old)
  found.set(path, { ...known, to: fresh ?? known.to })
}

function actionOf(from: TreeFile | null, to: TreeFile | null): CarriedFile['action'] {
  if (to === null) return 'delete'
  return from?.id === to.id ? 'mode' : 'write'
}
