import { type EntryMode, objectId, type TreeEntry } from '../lib/git-objects.ts'

/** A file or a link as a tree has it. */
export type TreeFile = {
  /** `120000` is a symbolic link, whose content is its target. */
  readonly mode: Exclude<EntryMode, '40000'>
  readonly id: string
}

export type TreeChange = {
  /** The bytes of the path, each as one character (latin1). */
  readonly path: string
  /** Where a renamed file was. */
  readonly oldPath?: string
  /** `mode`: the same content became executable, or is no longer. `renamed` files may have another mode, but never another content. */
  readonly status: 'added' | 'modified' | 'deleted' | 'renamed' | 'mode'
  /** null if it was added */
  readonly old: TreeFile | null
  /** null if it was deleted */
  readonly new: TreeFile | null
}

export type TreeComparison = {
  /**
   * In the order of their paths. A path is in it twice, deleted and then added, if a file became a link or a link
   * became a file, because this is how git writes it.
   */
  readonly changes: readonly TreeChange[]
  /**
   * Folders that differ, and of which a tree is not available, in the order of their paths. What is in them is not among
   * the changes. The path of the project's folder is empty.
   */
  readonly unknown: readonly string[]
}

/**
 * What was done to the files between two trees. It reads no tree that both have in the same place.
 * @param from the id of a tree, or null if there were no files; the same holds for `to`
 * @param readTree gives the entries of a folder, or null if its tree is not available
 */
export async function compareTrees(
  from: string | null,
  to: string | null,
  readTree: (id: string) => Promise<readonly TreeEntry[] | null>,
): Promise<TreeComparison> {
  const changes: TreeChange[] = []
  const unknown: string[] = []
  const entriesOf = (id: string | null) => (id === null ? [] : readTree(id))
  const folders = [{ path: '', from, to }]
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    if (folder.from === folder.to) continue
    const old = await entriesOf(folder.from)
    const fresh = await entriesOf(folder.to)
    if (old === null || fresh === null) {
      unknown.push(folder.path)
      continue
    }
    const prefix = folder.path === '' ? '' : `${folder.path}/`
    for (const [before, after] of pairsByName(old, fresh)) {
      const path = `${prefix}${(before ?? after)?.name}`
      folders.push({ path, from: folderId(before), to: folderId(after) })
      changes.push(...fileChanges(path, fileOf(before), fileOf(after)))
    }
  }
  return { changes: withRenames(changes), unknown: unknown.toSorted() }
}

type Pair = readonly [before: TreeEntry | undefined, after: TreeEntry | undefined]

function pairsByName(old: readonly TreeEntry[], fresh: readonly TreeEntry[]): Pair[] {
  const before = new Map(old.map((entry) => [entry.name, entry]))
  const after = new Map(fresh.map((entry) => [entry.name, entry]))
  const names = [...new Set([...before.keys(), ...after.keys()])]
  return names.map((name) => [before.get(name), after.get(name)])
}

const folderId = (entry: TreeEntry | undefined): string | null =>
  entry?.mode === '40000' ? entry.id : null

const fileOf = (entry: TreeEntry | undefined): TreeFile | null =>
  entry === undefined || entry.mode === '40000' ? null : { mode: entry.mode, id: entry.id }

const isLink = ({ mode }: TreeFile): boolean => mode === '120000'

function fileChanges(path: string, old: TreeFile | null, fresh: TreeFile | null): TreeChange[] {
  if (old !== null && fresh !== null && isLink(old) === isLink(fresh)) {
    if (old.id !== fresh.id) return [{ path, status: 'modified', old, new: fresh }]
    return old.mode === fresh.mode ? [] : [{ path, status: 'mode', old, new: fresh }]
  }
  const deleted = old === null ? [] : [{ path, status: 'deleted' as const, old, new: null }]
  const added = fresh === null ? [] : [{ path, status: 'added' as const, old: null, new: fresh }]
  return [...deleted, ...added]
}

/** Where a path is twice, it stays deleted first: sorting is stable. */
const byPath = (a: TreeChange, b: TreeChange): number =>
  a.path < b.path ? -1 : a.path > b.path ? 1 : 0

const EMPTY_FILE = objectId('blob', Buffer.alloc(0))

/**
 * These changes in the order of their paths, where a deleted and an added file with the same content, which is not empty,
 * are one renamed file: of several, the first with the first.
 * Links are not renamed: the rename of one into a folder of its own name is refused by `git apply`.
 */
function withRenames(changes: readonly TreeChange[]): TreeChange[] {
  const sorted = changes.toSorted(byPath)
  const times = Map.groupBy(sorted, ({ path }) => path)
  const byContent = (status: TreeChange['status']) => {
    const movable = sorted.filter((change) => {
      const file = change.old ?? change.new
      const isMovable = file !== null && !isLink(file) && file.id !== EMPTY_FILE
      return change.status === status && isMovable && times.get(change.path)?.length === 1
    })
    return Map.groupBy(movable, ({ old, new: fresh }) => (old ?? fresh)?.id)
  }
  const sources = byContent('deleted')
  const sourceOf = new Map(
    [...byContent('added')].flatMap(([id, targets]) => {
      const moved = sources.get(id) ?? []
      return targets.slice(0, moved.length).map((target, at) => [target, moved[at]] as const)
    }),
  )
  const moved = new Set(sourceOf.values())
  return sorted.flatMap((change) => {
    const source = sourceOf.get(change)
    if (source === undefined) return moved.has(change) ? [] : [change]
    return [{ ...change, status: 'renamed' as const, oldPath: source.path, old: source.old }]
  })
}
