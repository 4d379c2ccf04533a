import { decodeTree, encodeTree, objectId, type TreeEntry } from '../../src/lib/git-objects.ts'
import { compareTrees, type TreeChange, type TreeFile } from '../../src/snapshots/compare-trees.ts'

export type File = { readonly mode: TreeFile['mode']; readonly content: Buffer }
/** Paths are latin1. */
export type Files = ReadonlyMap<string, File>

export const filesOf = (
  files: Readonly<Record<string, string | Buffer>>,
  mode: File['mode'] = '100644',
): Files =>
  new Map(Object.entries(files).map(([path, text]) => [path, { mode, content: Buffer.from(text) }]))

/** Objects of trees, by their ids, as snapshots keep them. */
export class Objects {
  readonly trees = new Map<string, Buffer>()
  readonly blobs = new Map<string, Buffer>()
  /** The ids of the trees that were read. */
  readonly read: string[] = []

  /** The id of the tree of a folder. */
  add(files: Files): string {
    const entries: TreeEntry[] = []
    const folders = new Map<string, Map<string, File>>()
    for (const [path, file] of files) {
      const [name = '', ...rest] = path.split('/')
      if (rest.length === 0)
        entries.push({ mode: file.mode, name, id: this.#addBlob(file.content) })
      else folders.set(name, (folders.get(name) ?? new Map()).set(rest.join('/'), file))
    }
    for (const [name, inside] of folders)
      entries.push({ mode: '40000', name, id: this.add(inside) })
    const tree = encodeTree(entries)
    const id = objectId('tree', tree)
    this.trees.set(id, tree)
    return id
  }

  #addBlob(content: Buffer): string {
    const id = objectId('blob', content)
    this.blobs.set(id, content)
    return id
  }

  readonly readTree = async (id: string): Promise<TreeEntry[] | null> => {
    this.read.push(id)
    const tree = this.trees.get(id)
    return tree === undefined ? null : decodeTree(tree)
  }

  readonly readBlob = async (id: string): Promise<Buffer | null> => this.blobs.get(id) ?? null

  /** The files after these changes. */
  withChanges(files: Files, changes: readonly TreeChange[]): Files {
    const made = new Map(files)
    for (const { path, oldPath = path, old } of changes) if (old !== null) made.delete(oldPath)
    for (const { path, new: fresh } of changes)
      if (fresh !== null)
        made.set(path, { mode: fresh.mode, content: this.blobs.get(fresh.id) ?? Buffer.alloc(0) })
    return made
  }

  readonly compare = (from: Files, to: Files) =>
    compareTrees(this.add(from), this.add(to), this.readTree)
}
