import { decodeTree, EMPTY_TREE, shownPath, type TreeEntry } from '../../lib/git-objects.ts'
import { readPack } from '../../lib/git-pack.ts'
import type { Manifest } from '../bundle/bundle-format.ts'
import type { PayloadOf } from './read-record.ts'
import type { AbsentFiles, Finding, SnapshotsReport } from './report.ts'

/** The tree of a snapshot, and the seq of its record. */
export type TreeAt = { readonly seq: number; readonly tree: string }
/** The first snapshot that has an object, and a path where it has it, as bytes. The path of the project is empty. */
type ObjectPlace = { readonly seq: number; readonly path: string }
type ReadTree = (id: string) => readonly TreeEntry[] | null

/** Objects that snapshots name, by their ids. */
export type NamedObjects = {
  readonly trees: ReadonlyMap<string, ObjectPlace>
  /** The contents of all files and links. */
  readonly contents: ReadonlyMap<string, ObjectPlace>
  /** Those contents that an export holds: of files that differ between one snapshot and the next. */
  readonly exported: ReadonlySet<string>
}

/**
 * What snapshots name, as far as their trees are known.
 * @param readTree null if the tree is not known
 * @param ends whether an export also holds all contents of the first and the last snapshot
 */
export function namedObjects(
  snapshots: readonly TreeAt[],
  readTree: ReadTree,
  ends: boolean,
): NamedObjects {
  const trees = new Map<string, ObjectPlace>()
  const contents = new Map<string, ObjectPlace>()
  const entriesOf = (id: string) => (id === EMPTY_TREE ? [] : readTree(id))
  for (const { seq, tree } of snapshots) {
    const open = [{ id: tree, path: '' }]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { id, path } = next
      if (trees.has(id)) continue
      trees.set(id, { seq, path })
      for (const { mode, id: below, name } of entriesOf(id) ?? []) {
        const at = path === '' ? name : `${path}/${name}`
        if (mode === '40000') open.push({ id: below, path: at })
        else if (!contents.has(below)) contents.set(below, { seq, path: at })
      }
    }
  }
  const ids = snapshots.map(({ tree }) => tree)
  const pairs = ids.slice(1).map((to, index): Pair => [ids[index] ?? null, to])
  if (ends) pairs.push([null, ids[0] ?? null], [null, ids.at(-1) ?? null])
  return { trees, contents, exported: differing(pairs, entriesOf) }
}

type Pair = readonly [from: string | null, to: string | null]

/** The contents of the files that differ between the two trees of a pair, of both. */
function differing(pairs: readonly Pair[], entriesOf: ReadTree): Set<string> {
  const found = new Set<string>()
  const seen = new Set<string>()
  const open = [...pairs]
  for (let pair = open.pop(); pair !== undefined; pair = open.pop()) {
    const [from, to] = pair
    const key = pair.join(' ')
    if (from === to || seen.has(key)) continue
    seen.add(key)
    const [old, fresh] = [from, to].map((id) => (id === null ? [] : entriesOf(id)))
    if (old == null || fresh == null) continue
    const [before, after] = [byName(old), byName(fresh)]
    for (const name of new Set([...before.keys(), ...after.keys()])) {
      const both = [before.get(name), after.get(name)] as const
      open.push([folderId(both[0]), folderId(both[1])])
      const files = both.filter((entry) => entry !== undefined && entry.mode !== '40000')
      const isSame = files.length === 2 && files[0]?.id === files[1]?.id
      if (!isSame) for (const file of files) if (file !== undefined) found.add(file.id)
    }
  }
  return found
}

const byName = (entries: readonly TreeEntry[]) =>
  new Map(entries.map((entry) => [entry.name, entry]))

const folderId = (entry: TreeEntry | undefined): string | null =>
  entry?.mode === '40000' ? entry.id : null

/** What explains that objects are not in an export. */
type Reasons = {
  /** What the server says of the files in its export; undefined if it says nothing. */
  readonly files: Manifest['files']
  /** Objects that were redacted. */
  readonly removed: ReadonlySet<string>
  /** Whether the server has lost packs, which is a finding of its own, or has imported the run without some objects. */
  readonly isWithoutSome: boolean
}

/** Recomputes the trees of the snapshots of a run from the objects in an export. */
export class FilesCheck {
  readonly #snapshots: TreeAt[] = []
  readonly #trees = new Map<string, readonly TreeEntry[]>()
  /** All objects that are there, each with its type and the part that holds it. */
  readonly #objects = new Map<string, { readonly type: string; readonly part: string }>()
  /** From this record on, the server did not keep all objects. */
  #unkeptFrom = Number.POSITIVE_INFINITY

  /** Notes a snapshot that holds. */
  see(seq: number, { tree, unkept }: PayloadOf<'snapshot'>): void {
    this.#snapshots.push({ seq, tree })
    if (unkept !== undefined) this.#unkeptFrom = Math.min(this.#unkeptFrom, seq)
  }

  /** Notes the objects of a part, whose ids are computed. @returns what is wrong with it; null if nothing is */
  take(part: string, pack: Buffer): string | null {
    const read = readPack(pack)
    if (read.isErr()) return `it is not a pack of git: ${read.error}`
    for (const { id, type, content } of read.value) {
      this.#objects.set(id, { type, part })
      const entries = type === 'tree' ? decodeTree(content) : null
      if (entries !== null) this.#trees.set(id, entries)
    }
    return null
  }

  /** What is wrong, and what is there; null if the run has no snapshots. Call it after all parts were taken. */
  judge({ files, removed, isWithoutSome }: Reasons): {
    readonly report: SnapshotsReport | null
    readonly findings: readonly (Pick<Finding, 'problem' | 'message' | 'seq'> & {
      /** The part that it is about; null for the part with the record. */
      readonly where: string | null
    })[]
  } {
    const { first_and_last = false, withheld = [] } = files ?? {}
    const readTree: ReadTree = (id) => this.#trees.get(id) ?? null
    const named = namedObjects(this.#snapshots, readTree, first_and_last)
    const masked = new Set(withheld.map(({ id }) => id))
    const absent: Record<keyof AbsentFiles, number> = {
      masked: 0,
      redacted: 0,
      not_kept: 0,
      not_exported: 0,
    }
    const isThere = (id: string): boolean =>
      this.#trees.has(id) || this.#objects.get(id)?.type === 'blob' || id === EMPTY_TREE
    const missing = ([id, { seq, path }]: readonly [string, ObjectPlace], what: string) => {
      if (isThere(id)) return []
      const why = masked.has(id) ? 'masked' : removed.has(id) ? 'redacted' : 'not_kept'
      if (why !== 'not_kept' || isWithoutSome || seq >= this.#unkeptFrom) {
        absent[why] += 1
        return []
      }
      const of = path === '' ? 'the project' : JSON.stringify(shownPath(path))
      const message = `the ${what} of ${of} in this snapshot, ${id}, is not in the export`
      return [{ problem: 'missing' as const, where: null, seq, message }]
    }
    const contents = [...named.contents].filter(([id]) => named.exported.has(id))
    const unexpected = [...this.#objects].filter(([id, { type }]) =>
      type === 'tree' ? !named.trees.has(id) : !named.exported.has(id),
    )
    const findings = [
      ...[...named.trees].flatMap((each) => missing(each, 'tree')),
      ...contents.flatMap((each) => missing(each, 'content')),
      ...unexpected.map(([id, { part }]) => {
        const message = `it holds the object ${id}, which does not belong to an export of this run`
        return { problem: 'unexpected' as const, where: part, seq: null, message }
      }),
    ]
    absent.not_exported = named.contents.size - contents.length
    const report = {
      snapshots: this.#snapshots.length,
      trees: this.#trees.size,
      contents: this.#objects.size - this.#trees.size,
      first_and_last,
      absent,
      withheld: withheld.map(({ id, path }) => ({ id, path })),
    }
    return { report: this.#snapshots.length === 0 ? null : report, findings }
  }
}
