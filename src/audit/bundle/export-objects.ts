import {
  decodeTree,
  EMPTY_TREE,
  type GitObject,
  shownPath,
  type TreeEntry,
} from '../../lib/git-objects.ts'
import { readPack } from '../../lib/git-pack.ts'
import { writePack } from '../../lib/write-pack.ts'
import { maskedContent } from '../../log/masking.ts'
import { type NamedObjects, namedObjects, type TreeAt } from '../verify/files-check.ts'
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

/** The objects of a run that an export holds: each as part of the pack that the server has it in. */
export class ExportedObjects {
  readonly #read: Given['read']
  readonly #named: NamedObjects
  readonly #masked: ReadonlySet<string>
  readonly #withheld = new Map<string, Withheld>()
  /** The packs that are there. */
  readonly packs: ReadonlySet<string>
  /** Objects that belong to the export, and that no pack has. */
  readonly absent: ReadonlySet<string>

  private constructor(given: Pick<Given, 'read'>, found: Found, named: NamedObjects) {
    this.#read = given.read
    this.#named = named
    this.#masked = found.masked
    this.packs = found.packs
    for (const id of found.masked) this.#withhold(id)
    const belonging = [...named.trees.keys(), ...named.exported]
    this.absent = new Set(belonging.filter((id) => !found.ids.has(id)))
  }

  /** Reads each pack once to learn what is in it. */
  static async open({ snapshots, packs, read, ends }: Given): Promise<ExportedObjects> {
    const found = {
      ...{ packs: new Set<string>(), ids: new Set([EMPTY_TREE]), masked: new Set<string>() },
    }
    const trees = new Map<string, readonly TreeEntry[]>()
    for (const name of packs) {
      const objects = await objectsIn(read, name)
      if (objects === null) continue
      found.packs.add(name)
      for (const { id, type, content } of objects) {
        found.ids.add(id)
        const entries = type === 'tree' ? decodeTree(content) : null
        if (entries === null) continue
        if (hasSecretName(entries)) found.masked.add(id)
        else trees.set(id, entries)
      }
    }
    const named = namedObjects(snapshots, (id) => trees.get(id) ?? null, ends)
    return new ExportedObjects({ read }, found, named)
  }

  /** What is withheld, as far as the parts are made. */
  get withheld(): Withheld[] {
    return [...this.#withheld.values()]
  }

  /** The parts of an export, each made when it is requested. A pack that is gone meanwhile has none. */
  async *parts(): AsyncGenerator<{ readonly path: string; readonly content: Buffer }> {
    const written = new Set<string>()
    for (const name of this.packs) {
      const all = (await objectsIn(this.#read, name)) ?? []
      const kept = all.filter((object) => !written.has(object.id) && this.#isExported(object))
      if (kept.length === 0) continue
      for (const { id } of kept) written.add(id)
      // The same objects give the same bytes, so a whole pack keeps its hash.
      yield { path: objectsPath(name), content: writePack(kept) }
    }
  }

  #isExported({ id, type, content }: GitObject): boolean {
    if (type === 'tree') return this.#named.trees.has(id) && !this.#masked.has(id)
    if (!this.#named.exported.has(id)) return false
    const isMasked = maskedContent(content) !== content
    if (isMasked) this.#withhold(id)
    return !isMasked
  }

  #withhold(id: string): void {
    const place = this.#named.trees.get(id) ?? this.#named.contents.get(id)
    if (place === undefined) return
    this.#withheld.set(id, { id, path: shownPath(place.path), why: 'masked' })
  }
}

type Found = {
  readonly packs: ReadonlySet<string>
  /** The objects in them, and those of them that are trees with a secret in a name. */
  readonly ids: ReadonlySet<string>
  readonly masked: ReadonlySet<string>
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
