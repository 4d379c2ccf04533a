import type { Position } from '../../store/event-store.ts'
import type { FeedEntry } from './feed-entry.ts'
import type { LiveLimits } from './limits.ts'

/**
 * The newest entries of the log, without gaps, bounded in number and in bytes. Positions cannot be
 * compared, so each that is kept is known by its index: entries count from 0 as they are pushed.
 */
export class FeedRing {
  readonly #slots: (FeedEntry | undefined)[]
  readonly #limits: Pick<LiveLimits, 'ringFrames' | 'ringBytes'>
  /** The index of the entry behind each position. */
  readonly #behind = new Map<Position | null, number>()
  #boundary: Position | null
  #last: Position | null
  #first = 0
  #next = 0
  #bytes = 0

  /** An empty ring whose first entry will be the one behind `after`. */
  constructor(after: Position | null, limits: Pick<LiveLimits, 'ringFrames' | 'ringBytes'>) {
    this.#slots = new Array(limits.ringFrames)
    this.#limits = limits
    this.#boundary = after
    this.#last = after
    this.#behind.set(after, 0)
  }

  /** Position of the newest entry ever pushed, or where the ring began. */
  get last(): Position | null {
    return this.#last
  }

  push(entry: FeedEntry): void {
    if (this.#next - this.#first === this.#limits.ringFrames) this.#dropFirst()
    this.#slots[this.#slot(this.#next)] = entry
    this.#next += 1
    this.#last = entry.position
    this.#behind.set(entry.position, this.#next)
    this.#bytes += entry.data.length
    while (this.#bytes > this.#limits.ringBytes) this.#dropFirst()
  }

  /** The index of the entry behind a position; undefined where that is not known here. */
  indexBehind(position: Position | null): number | undefined {
    return this.#behind.get(position)
  }

  /** All entries from an index on; null when the first of them is no longer kept. */
  from(index: number): FeedEntry[] | null {
    if (index < this.#first) return null
    const entries: FeedEntry[] = []
    for (let i = index; i < this.#next; i += 1) {
      const entry = this.#slots[this.#slot(i)]
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  #dropFirst(): void {
    const slot = this.#slot(this.#first)
    const dropped = this.#slots[slot]
    this.#slots[slot] = undefined
    this.#first += 1
    if (dropped === undefined) return
    this.#bytes -= dropped.data.length
    this.#behind.delete(this.#boundary)
    this.#boundary = dropped.position
  }

  #slot(index: number): number {
    return index % this.#limits.ringFrames
  }
}
