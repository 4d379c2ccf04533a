import type { OutputPiece } from './protocol.ts'

/** One of the two streams of a command. */
export type Side = 0 | 1

export type Waiting = OutputPiece & {
  readonly side: Side
  /** Whether it belongs to the beginning of its stream, of which nothing is dropped. */
  readonly isHead: boolean
}

const NEWLINE = 0x0a
/** More than the longest secret takes, in UTF-8: see `LONGEST_KEY_CHARS` and the shapes. */
const REACH_BYTES = 72 * 1024
/** What waits beyond what is kept before anything is dropped, so that it is dropped in large parts. */
const SLACK_BYTES = 512 * 1024

/**
 * The output of a command that may print a flood, in its order. Sending and masking a flood takes longer than printing
 * it, and most of it is useless. So the excess is dropped here, up to the beginning of a line: no secret with a known
 * shape, and none of this server, contains a line break, except private keys. So the first lines after a gap, more than
 * a private key has, are hidden.
 */
export class OutputQueue {
  readonly #keptBytes: number
  #waiting: Waiting[] = []
  readonly #bytes: [number, number] = [0, 0]
  readonly #seen: [number, number] = [0, 0]

  /** @param keptBytes of each stream, at its beginning and at its end */
  constructor(keptBytes: number) {
    this.#keptBytes = keptBytes
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /**
   * Adds output.
   * @returns what has to be sent now: the beginning of a stream, or what has no lines, so that nothing of it can be dropped
   */
  push(side: Side, chunk: Buffer): Waiting[] {
    const isHead = this.#seen[side] < this.#keptBytes
    this.#seen[side] += chunk.length
    const one: Waiting = { side, chunk, gap: 0, isMuted: false, isHead }
    if (isHead && this.isEmpty) return [one]
    this.#waiting.push(one)
    this.#bytes[side] += chunk.length
    return this.#bytes[side] > this.#keptBytes + SLACK_BYTES ? this.#dropOldest(side) : []
  }

  /** The oldest piece. */
  shift(): Waiting | undefined {
    const oldest = this.#waiting.shift()
    if (oldest !== undefined) this.#bytes[oldest.side] -= oldest.chunk.length
    return oldest
  }

  /** Drops about the half of what waits beyond what is kept. */
  #dropOldest(side: Side): Waiting[] {
    const own = this.#waiting.filter((one) => one.side === side)
    // It had to wait for the other stream.
    if (own[0]?.isHead === true) return this.#takeFirst(side, SLACK_BYTES / 2)
    const cut = lineBefore(own, SLACK_BYTES / 2)
    const shown = cut === null ? null : lineAfter(own, cut + REACH_BYTES)
    if (cut === null || shown === null || shown > SLACK_BYTES)
      return this.#takeFirst(side, SLACK_BYTES / 2)
    const kept: Waiting[] = []
    let gap = 0
    let at = 0
    let next = 0
    for (; at < shown; next += 1) {
      const one = this.#waiting[next]
      if (one === undefined) break
      if (one.side !== side) {
        kept.push(one)
        continue
      }
      for (const part of split(one, [cut - at, shown - at])) {
        if (at < cut) gap += part.gap + part.chunk.length
        else {
          const isMuted = part.isMuted || at < shown
          kept.push({ ...part, gap: part.gap + (at === cut ? gap : 0), isMuted })
        }
        at += part.chunk.length
      }
    }
    this.#waiting = [...kept, ...this.#waiting.slice(next)]
    this.#bytes[side] -= cut
    return []
  }

  #takeFirst(side: Side, bytes: number): Waiting[] {
    const taken: Waiting[] = []
    for (let left = bytes; left > 0; ) {
      const one = this.shift()
      if (one === undefined) break
      taken.push(one)
      if (one.side === side) left -= one.chunk.length
    }
    return taken
  }
}

/** Divides a piece at these places, if they are within it. */
function split(one: Waiting, places: readonly number[]): Waiting[] {
  const within = places.filter((place) => place > 0 && place < one.chunk.length)
  const starts = [0, ...within]
  return starts.map((start, index) => ({
    ...one,
    chunk: one.chunk.subarray(start, starts[index + 1]),
    gap: index === 0 ? one.gap : 0,
  }))
}

/** Where the last line before `limit` begins, in bytes from the beginning; null if none does. */
function lineBefore(pieces: readonly Waiting[], limit: number): number | null {
  let found: number | null = null
  let at = 0
  for (const { chunk } of pieces) {
    if (at >= limit) break
    const last = chunk.subarray(0, limit - at).lastIndexOf(NEWLINE)
    if (last !== -1) found = at + last + 1
    at += chunk.length
  }
  return found
}

/** Where the first line at or after `from` begins; null if none does. */
function lineAfter(pieces: readonly Waiting[], from: number): number | null {
  let at = 0
  for (const { chunk } of pieces) {
    const index = chunk.indexOf(NEWLINE, Math.max(0, from - 1 - at))
    if (at + chunk.length >= from && index !== -1) return at + index + 1
    at += chunk.length
  }
  return null
}
