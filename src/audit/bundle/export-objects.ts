import {
  decodeTree,
  EMPTY_TREE,
  type GitObject,
  shownPath,
  type TreeEntry,
} from '../../lib/git-objects.ts'
import { readPack } from '../../lib/git-pack.ts'
import { writePack } from '../../lib/write-pack.ts'
import { maskedContent } from '../../masking/process-mask.ts'
import { namedObjects, type TreeAt } from '../verify/files-check.ts'
import { type Manifest, objectsPath } from './bundle-format.ts'

type Withheld = NonNullable<Manifest['files']>['withheld'][number]

type Given = {
  readonly snapshots: readonly TreeAt[]
  /** The names of the packs that may hold their objects. */
  readonly packs: Iterable<string>
  /** Null if there is no such pack. */
  readonly read: (pack: string) => Promise<Buffer | null>
  /** Whether all files of the first and the last snapshot belong to the export. */
  readonly ends: boolean
}

/**
 * The objects of a run that an export holds: each as part of the pack that the server has it in. Reads each pack once to
 * learn what is in it.
 */
export async function exportedObjects({ snapshots, packs: names, read, ends }: Given) {
  const { packs, ids, trees, masked } = await listed(names, read)
  const named = namedObjects(snapshots, (id) => trees.get(id) ?? null, ends)
  const withheld = new Map<string, Withheld>()
  const withhold = (id: string): void => {
    const place = named.trees.get(id) ?? named.contents.get(id)
    if (place !== undefined) withheld.set(id, { id, path: shownPath(place.path), why: 'masked' })
  }
  for (const id of masked) withhold(id)
  const isExported = ({ id, type, content }: GitObject): boolean => {
    if (type === 'tree') return named.trees.has(id) && !masked.has(id)
    if (!named.exported.has(id)) return false
    const isMasked = maskedContent(content) !== content
    if (isMasked) withhold(id)
    return !isMasked
  }
  async function* parts(): AsyncGenerator<{ readonly path: string; readonly content: Buffer }> {
    const written = new Set<string>()
    for (const name of packs) {
      const all = (await objectsIn(read, name)) ?? []
      const kept = all.filter((object) => !written.has(object.id) && isExported(object))
      if (kept.length === 0) continue
      for (const { id } of kept) written.add(id)
      // The same objects give the same bytes, so a whole pack keeps its hash.
      yield { path: objectsPath(name), content: writePack(kept) }
    }
  }
  const belonging = [...named.trees.keys(), ...named.exported]
  return {
    /** The packs that are there. */
    packs,
    /** Objects that belong to the export, and that no pack has. */
    absent: new Set(belonging.filter((id) => !ids.has(id))),
    /** The parts of an export, each made when it is requested. A pack that is gone meanwhile has none. */
    parts,
    /** What is withheld, as far as the parts are made. */
    withheld: () => [...withheld.values()],
  }
}

/** The packs that are there, the ids of the objects in them, the trees among these, and the trees with a secret in a name. */
async function listed(names: Iterable<string>, read: Given['read']) {
  const packs = new Set<string>()
  const ids = new Set([EMPTY_TREE])
  const trees = new Map<string, readonly TreeEntry[]>()
  const masked = new Set<string>()
  for (const name of names) {
    const objects = await objectsIn(read, name)
    if (objects === null) continue
    packs.add(name)
    for (const { id, type, content } of objects) {
      ids.add(id)
      const entries = type === 'tree' ? decodeTree(content) : null
      if (entries === null) continue
      if (hasSecretName(entries)) masked.add(id)
      else trees.set(id, entries)
    }
  }
  return { packs, ids, trees, masked }
}

/** A damaged pack is like one that is lost. */
async function objectsIn(read: Given['read'], name: string): Promise<readonly GitObject[] | null> {
  const pack = await read(name)
  return pack === null ? null : readPack(pack).unwrapOr(null)
}

const hasSecretName = (entries: readonly TreeEntry[]): boolean => {
  const names = Buffer.from(entries.map(({ name }) => name).join('\n'), 'latin1')
  return maskedContent(names) !== names
}
