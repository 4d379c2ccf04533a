import { type Entry, sizeOf } from './entry.ts'
import type { LiveLimits } from './limits.ts'

/** The newest entries of one run, without gaps, bounded in number and in bytes. */
export class Ring {
  readonly #slots: (Entry | undefined)[]
  readonly #limits: Pick<LiveLimits, 'ringFrames' | 'ringBytes'>
  #first: number
  #last: number
  #bytes = 0

  /** An empty ring whose first entry will be the one behind `after`. */
  constructor(after: number, limits: Pick<LiveLimits, 'ringFrames' | 'ringBytes'>) {
    this.#slots = new Array(limits.ringFrames)
    this.#limits = limits
    this.#first = after + 1
    this.#last = after
  }

  /** seq of the newest entry ever pushed, or where the ring began. */
  get last(): number {
    return this.#last
  }

  push(entry: Entry): void {
    if (entry.seq !== this.#last + 1) {
      throw new RangeError(`the store delivered ${entry.seq} behind ${this.#last}`)
    }
    if (this.#last - this.#first + 1 === this.#limits.ringFrames) this.#dropFirst()
    this.#slots[this.#slot(entry.seq)] = entry
    this.#last = entry.seq
    this.#bytes += sizeOf(entry)
    while (this.#bytes > this.#limits.ringBytes) this.#dropFirst()
  }

  /** All entries behind `cursor`; null when the first of them is no longer kept. */
  behind(cursor: number): Entry[] | null {
    if (cursor + 1 < this.#first) return null
    const entries: Entry[] = []
    for (let seq = cursor + 1; seq <= this.#last; seq += 1) {
      const entry = this.#slots[this.#slot(seq)]
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  #dropFirst(): void {
    const slot = this.#slot(this.#first)
    const dropped = this.#slots[slot]
    if (dropped !== undefined) this.#bytes -= sizeOf(dropped)
    this.#slots[slot] = undefined
    this.#first += 1
  }

  #slot(seq: number): number {
    return seq % this.#limits.ringFrames
  }
}
