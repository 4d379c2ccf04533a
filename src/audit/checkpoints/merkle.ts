import { createHash, hash } from 'node:crypto'

/** As in RFC 6962, leaves and nodes begin with different bytes, so neither can be taken for the other. */
const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

export function leafHash(text: string): Buffer {
  return createHash('sha256').update(LEAF).update(text).digest()
}

function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest()
}

/** The largest power of two below `count`: where a tree with that many leaves is split. */
const splitOf = (count: number): number => 2 ** Math.ceil(Math.log2(count) - 1)

/** Root of the tree over these leaf hashes. */
export function merkleRoot(leaves: readonly Uint8Array[]): Buffer {
  const root = (from: number, to: number): Uint8Array => {
    const [only] = leaves.slice(from, from + 1)
    if (only === undefined) return createHash('sha256').digest()
    if (to - from === 1) return only
    const middle = from + splitOf(to - from)
    return nodeHash(root(from, middle), root(middle, to))
  }
  return Buffer.from(root(0, leaves.length))
}

/** The hashes that lead from the leaf `index` to the root, lowest first. */
export function inclusionPath(leaves: readonly Uint8Array[], index: number): Buffer[] {
  if (leaves.length <= 1) return []
  const middle = splitOf(leaves.length)
  const [left, right] = [leaves.slice(0, middle), leaves.slice(middle)]
  return index < middle
    ? [...inclusionPath(left, index), merkleRoot(right)]
    : [...inclusionPath(right, index - middle), merkleRoot(left)]
}

/** The root to which a path leads from a leaf; null if the path does not fit the tree. */
export function rootOfPath(
  leaf: Uint8Array,
  {
    index,
    count,
    path,
  }: { readonly index: number; readonly count: number; readonly path: readonly Uint8Array[] },
): Buffer | null {
  if (index >= count) return null
  if (count === 1) return path.length === 0 ? Buffer.from(leaf) : null
  const sibling = path.at(-1)
  if (sibling === undefined) return null
  const middle = splitOf(count)
  const rest = path.slice(0, -1)
  if (index < middle) {
    const left = rootOfPath(leaf, { index, count: middle, path: rest })
    return left && nodeHash(left, sibling)
  }
  const right = rootOfPath(leaf, { index: index - middle, count: count - middle, path: rest })
  return right && nodeHash(sibling, right)
}

const HASH_BYTES = 32
/** After this many hashes, about a millisecond, other tasks get a turn. */
const HASHES_PER_STEP = 1000

/**
 * The tree over leaves that are sorted by their ids. It keeps its nodes. A changed leaf costs the nodes above it; a new
 * leaf also costs those after it. So a checkpoint does not hash all runs.
 */
export class MerkleTree {
  #ids: readonly string[] = []
  /** Leaf hashes, then each level above them up to the root, without gaps. */
  #levels: Buffer[] = [Buffer.alloc(0)]
  readonly #node = Buffer.concat([NODE, Buffer.alloc(2 * HASH_BYTES)])

  get size(): number {
    return this.#ids.length
  }

  get root(): Buffer {
    const top = this.#levels.at(-1)
    return top === undefined || this.size === 0 ? createHash('sha256').digest() : Buffer.from(top)
  }

  /** Adds or replaces leaf hashes, by id. The tree is complete after the last step. */
  *put(leaves: ReadonlyMap<string, Uint8Array>): Generator<void, void> {
    const added = [...leaves.keys()].filter((id) => this.#ids[this.#placeOf(id)] !== id)
    const from = this.#insert(added.sort())
    const [bottom = Buffer.alloc(0)] = this.#levels
    const changed = new Set<number>()
    for (const [id, hashed] of leaves) {
      const place = this.#placeOf(id)
      bottom.set(hashed, place * HASH_BYTES)
      changed.add(place)
    }
    yield* this.#hashLevels(changed, from)
  }

  /** Rehashes the nodes above the `changed` leaves and all from the leaf `from` on. */
  *#hashLevels(changed: ReadonlySet<number>, from: number): Generator<void, void> {
    let level = 0
    let below = { changed, from, count: this.size }
    let hashed = 0
    while (below.count > 1) {
      const count = Math.ceil(below.count / 2)
      const first = Math.floor(below.from / 2)
      const above = { changed: new Set<number>(), from: first, count }
      const nodes = resized(this.#levels[level + 1], count)
      for (const place of below.changed) {
        const index = Math.floor(place / 2)
        if (index >= first || above.changed.has(index)) continue
        above.changed.add(index)
        this.#hashNode(level, index, below.count, nodes)
      }
      hashed += above.changed.size
      for (let index = first; index < count; index += 1) {
        this.#hashNode(level, index, below.count, nodes)
        hashed += 1
        if (hashed % HASHES_PER_STEP === 0) yield
      }
      level += 1
      this.#levels[level] = nodes
      below = above
    }
    this.#levels.length = level + 1
  }

  /** A node without a right child is its left child. */
  #hashNode(level: number, index: number, count: number, nodes: Buffer): void {
    const children = this.#levels[level] ?? nodes
    const [at, end] = [2 * index * HASH_BYTES, Math.min(2 * index + 2, count) * HASH_BYTES]
    if (end - at === HASH_BYTES) children.copy(nodes, index * HASH_BYTES, at, end)
    else {
      children.copy(this.#node, 1, at, end)
      hash('sha256', this.#node, 'buffer').copy(nodes, index * HASH_BYTES)
    }
  }

  /** Makes room for new leaves. @returns the place of the first, which is Infinity for none */
  #insert(added: readonly string[]): number {
    const [first] = added
    if (first === undefined) return Number.POSITIVE_INFINITY
    const [bottom = Buffer.alloc(0)] = this.#levels
    const hashes = Buffer.alloc((this.size + added.length) * HASH_BYTES)
    const ids: string[][] = []
    const places = added.map((id) => this.#placeOf(id))
    const start = places[0] ?? 0
    let taken = 0
    places.forEach((place, index) => {
      bottom.copy(hashes, (taken + index) * HASH_BYTES, taken * HASH_BYTES, place * HASH_BYTES)
      ids.push(this.#ids.slice(taken, place), added.slice(index, index + 1))
      taken = place
    })
    bottom.copy(hashes, (taken + added.length) * HASH_BYTES, taken * HASH_BYTES)
    ids.push(this.#ids.slice(taken))
    this.#ids = ids.flat()
    this.#levels[0] = hashes
    return start
  }

  /** The place of the id, or the place where it belongs. */
  #placeOf(id: string): number {
    let [low, high] = [0, this.size]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#ids[middle] ?? '') < id) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** A buffer for `count` hashes that begins like `nodes`. */
function resized(nodes: Buffer | undefined, count: number): Buffer {
  if (nodes?.length === count * HASH_BYTES) return nodes
  const made = Buffer.alloc(count * HASH_BYTES)
  nodes?.copy(made)
  return made
}
