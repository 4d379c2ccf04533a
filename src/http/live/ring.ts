import type { LiveLimits } from './limits.ts'

/** Finds the place of a cursor in a ring. Items count from 0 as they are added. */
export type Places<Cursor> = {
  /** The index of the item after a cursor; undefined if it is not known. */
  after(cursor: Cursor): number | undefined
  /** The item at `index` was added, with this cursor. */
  added(cursor: Cursor, index: number): void
  /** Nothing before the item after this cursor is kept. */
  dropped(cursor: Cursor): void
}

/** The places of seqs, which have no gaps: a place is a difference. */
export function seqPlaces(after: number): Places<number> {
  const place = (seq: number): number => seq - after
  return {
    after: place,
    added: (seq, index) => {
      if (place(seq) !== index + 1) throw new RangeError(`seq ${seq} came after ${after + index}`)
    },
    dropped: () => {},
  }
}

/** The places of positions, which cannot be compared: each kept position is remembered. */
export function positionPlaces<Cursor>(after: Cursor): Places<Cursor> {
  const places = new Map([[after, 0]])
  return {
    after: (cursor) => places.get(cursor),
    added: (cursor, index) => places.set(cursor, index + 1),
    dropped: (cursor) => places.delete(cursor),
  }
}

type Contents<Cursor, Item> = {
  readonly places: Places<Cursor>
  readonly cursorOf: (item: Item) => Cursor
  readonly sizeOf: (item: Item) => number
}

/** The newest items of a topic, without gaps, bounded in number and in bytes. */
export class Ring<Cursor, Item> {
  readonly #contents: Contents<Cursor, Item>
  readonly #limits: Pick<LiveLimits, 'ringFrames' | 'ringBytes'>
  readonly #slots: (Item | undefined)[] = []
  /** The cursor before the first item that is kept. */
  #boundary: Cursor
  #first = 0
  #next = 0
  #bytes = 0

  /** An empty ring. Its first item will be the one after `after`, as `contents.places` has it, too. */
  constructor(
    after: Cursor,
    contents: Contents<Cursor, Item>,
    limits: Pick<LiveLimits, 'ringFrames' | 'ringBytes'>,
  ) {
    this.#boundary = after
    this.#contents = contents
    this.#limits = limits
  }

  /** Adds the next item. One that was added before is ignored: a subscription that broke may repeat it. */
  push(item: Item): void {
    const { places, cursorOf, sizeOf } = this.#contents
    const cursor = cursorOf(item)
    const place = places.after(cursor)
    if (place !== undefined && place <= this.#next) return
    places.added(cursor, this.#next)
    if (this.#next - this.#first === this.#limits.ringFrames) this.#dropFirst()
    this.#slots[this.#slot(this.#next)] = item
    this.#next += 1
    this.#bytes += sizeOf(item)
    while (this.#bytes > this.#limits.ringBytes) this.#dropFirst()
  }

  /** Whether the items after a cursor are kept, or the next one to come follows it. */
  has(cursor: Cursor): boolean {
    return (this.#contents.places.after(cursor) ?? -1) >= this.#first
  }

  /** All items after a cursor; null if the first of them is not kept, or not known. */
  after(cursor: Cursor): Item[] | null {
    const place = this.#contents.places.after(cursor) ?? -1
    if (place < this.#first) return null
    const items: Item[] = []
    for (let index = place; index < this.#next; index += 1) {
      const item = this.#slots[this.#slot(index)]
      if (item !== undefined) items.push(item)
    }
    return items
  }

  #dropFirst(): void {
    const { places, cursorOf, sizeOf } = this.#contents
    const slot = this.#slot(this.#first)
    const dropped = this.#slots[slot]
    this.#slots[slot] = undefined
    this.#first += 1
    if (dropped === undefined) return
    this.#bytes -= sizeOf(dropped)
    places.dropped(this.#boundary)
    this.#boundary = cursorOf(dropped)
  }

  #slot(index: number): number {
    return index % this.#limits.ringFrames
  }
}
