import { createHash } from 'node:crypto'

/** The objects of git that a snapshot consists of. */
export type ObjectType = 'blob' | 'tree'
export type GitObject = {
  /** 64 lower-case hex digits: git's SHA-256 object format. */
  readonly id: string
  readonly type: ObjectType
  readonly content: Buffer
}

/** File, executable file, symbolic link, folder. */
export type EntryMode = '100644' | '100755' | '120000' | '40000'

/** One name in a folder. */
export type TreeEntry = {
  readonly mode: EntryMode
  /** The bytes of the name, each as one character (latin1): names on a disk need not be UTF-8. */
  readonly name: string
  readonly id: string
}

/** The id that git gives a content in its SHA-256 object format. */
export const objectId = (type: ObjectType, content: Uint8Array): string =>
  createHash('sha256').update(`${type} ${content.length}\0`).update(content).digest('hex')

/** The tree of a folder without entries. */
export const EMPTY_TREE = objectId('tree', Buffer.alloc(0))

/** git compares the bytes of names, and those of folders as if they ended with a slash. */
const sortKey = ({ mode, name }: TreeEntry): string => (mode === '40000' ? `${name}/` : name)

/** The content of the tree object of a folder. */
export function encodeTree(entries: readonly TreeEntry[]): Buffer {
  const sorted = entries.toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1))
  return Buffer.concat(
    sorted.flatMap(({ mode, name, id }) => [
      Buffer.from(`${mode} ${name}\0`, 'latin1'),
      Buffer.from(id, 'hex'),
    ]),
  )
}

const MODES: ReadonlySet<string> = new Set<EntryMode>(['100644', '100755', '120000', '40000'])
const ID_BYTES = 32

/** The entries of a tree object; null if the content is not a tree of a snapshot. */
export function decodeTree(content: Buffer): TreeEntry[] | null {
  const entries: TreeEntry[] = []
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at)
    const end = content.indexOf(0, at)
    const next = end + 1 + ID_BYTES
    if (space === -1 || end < space || next > content.length) return null
    const mode = content.toString('latin1', at, space)
    const name = content.toString('latin1', space + 1, end)
    if (!MODES.has(mode) || name === '' || name === '.' || name === '..' || name.includes('/'))
      return null
    entries.push({ mode: mode as EntryMode, name, id: content.toString('hex', end + 1, next) })
    at = next
  }
  return encodeTree(entries).equals(content) && hasNoDoubles(entries) ? entries : null
}

const hasNoDoubles = (entries: readonly TreeEntry[]): boolean =>
  new Set(entries.map(({ name }) => name)).size === entries.length

/** A path of a tree as people read it: bytes that are not UTF-8 become U+FFFD. */
export const shownPath = (bytes: string): string => Buffer.from(bytes, 'latin1').toString()

/** The bytes of a path that is given as text. */
export const pathBytes = (path: string): string => Buffer.from(path).toString('latin1')
