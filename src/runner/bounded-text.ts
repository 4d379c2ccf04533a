/** Whether a byte is inside a UTF-8 character, not at its start. */
const isContinuation = (byte: number | undefined): boolean =>
  byte !== undefined && (byte & 0xc0) === 0x80

/** The largest index up to `at` that parts no character of valid UTF-8. */
export function characterStart(bytes: Uint8Array, at: number): number {
  let index = at
  while (index > 0 && isContinuation(bytes[index])) index -= 1
  return index
}

/** The smallest index from `at` on that parts no character of valid UTF-8. */
export function nextCharacterStart(bytes: Uint8Array, at: number): number {
  let index = at
  while (isContinuation(bytes[index])) index += 1
  return index
}

const FIRST_SIZE = 4096

/**
 * Collects text and keeps at most `limit` bytes of it: the first half, and the latest as a ring. So a
 * flood costs no more memory than its limit, and the end, where a summary mostly stands, is not lost.
 */
export class BoundedText {
  readonly #headLimit: number
  readonly #tailLimit: number
  #head = Buffer.alloc(0)
  #headSize = 0
  #ring: Buffer | null = null
  /** Bytes that went past the head; the last of them are in the ring. */
  #behind = 0

  constructor(limit: number) {
    this.#headLimit = Math.ceil(limit / 2)
    this.#tailLimit = Math.floor(limit / 2)
  }

  add(text: string): void {
    if (text === '') return
    const bytes = Buffer.from(text)
    const room = this.#headLimit - this.#headSize
    this.#addToHead(bytes.subarray(0, room))
    if (bytes.length > room) this.#addToRing(bytes.subarray(room))
  }

  /** What is kept. A line stands where something was dropped and says how much. */
  text(): string {
    const head = this.#head.subarray(0, this.#headSize)
    const tail = this.#tail()
    if (this.#behind <= tail.length) return Buffer.concat([head, tail]).toString()
    const headEnd = characterEnd(head)
    const tailStart = nextCharacterStart(tail, 0)
    const dropped = this.#behind - tail.length + (head.length - headEnd) + tailStart
    const kept = [head.subarray(0, headEnd), tail.subarray(tailStart)].map(String)
    return kept.join(`\n[${dropped} bytes of output are dropped here]\n`)
  }

  #addToHead(bytes: Buffer): void {
    const needed = this.#headSize + bytes.length
    if (needed > this.#head.length) {
      const size = Math.min(this.#headLimit, Math.max(FIRST_SIZE, needed, this.#head.length * 2))
      const grown = Buffer.alloc(size)
      this.#head.copy(grown, 0, 0, this.#headSize)
      this.#head = grown
    }
    bytes.copy(this.#head, this.#headSize)
    this.#headSize = needed
  }

  #addToRing(bytes: Buffer): void {
    const size = this.#tailLimit
    if (size > 0) {
      this.#ring ??= Buffer.alloc(size)
      const latest = bytes.subarray(Math.max(0, bytes.length - size))
      const at = (this.#behind + bytes.length - latest.length) % size
      const untilEnd = latest.copy(this.#ring, at)
      latest.copy(this.#ring, 0, untilEnd)
    }
    this.#behind += bytes.length
  }

  #tail(): Buffer {
    if (this.#ring === null) return Buffer.alloc(0)
    if (this.#behind <= this.#tailLimit) return this.#ring.subarray(0, this.#behind)
    const at = this.#behind % this.#tailLimit
    return Buffer.concat([this.#ring.subarray(at), this.#ring.subarray(0, at)])
  }
}

/** Where the last whole character of `bytes` ends, given that they begin with a whole one. */
function characterEnd(bytes: Uint8Array): number {
  if (bytes.length === 0) return 0
  const start = characterStart(bytes, bytes.length - 1)
  const first = bytes[start] ?? 0
  const width = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  return start + width <= bytes.length ? start + width : start
}
