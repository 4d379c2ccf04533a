/** Whether a byte is inside of a UTF-8 character, not its first. */
const isContinuation = (byte: number | undefined): boolean =>
  byte !== undefined && (byte & 0xc0) === 0x80

/** The largest index up to `at` that splits no character of valid UTF-8. */
export function characterStart(bytes: Uint8Array, at: number): number {
  let index = at
  while (index > 0 && isContinuation(bytes[index])) index -= 1
  return index
}

/** The smallest index from `at` on that splits no character of valid UTF-8. */
export function nextCharacterStart(bytes: Uint8Array, at: number): number {
  let index = at
  while (isContinuation(bytes[index])) index += 1
  return index
}

const FIRST_HEAD_BYTES = 4096

/**
 * Collects text and keeps at most `limit` bytes of it: the first half, and the latest in a ring. A long output costs no
 * more memory than its limit, and its end, where most summaries are, is kept.
 */
export class BoundedText {
  readonly #limit: number
  #headLimit: number
  readonly #tailLimit: number
  #head = Buffer.alloc(0)
  #headSize = 0
  #ring: Buffer | null = null
  /** Bytes after the head; the last of them are in the ring. */
  #afterHead = 0
  /** Bytes after the head since some were skipped. */
  #inTail = 0

  constructor(limit: number) {
    this.#limit = limit
    this.#headLimit = Math.ceil(limit / 2)
    this.#tailLimit = Math.floor(limit / 2)
  }

  add(text: string): void {
    if (text === '') return
    const size = Buffer.byteLength(text)
    const room = this.#headLimit - this.#headSize
    if (size <= room) {
      this.#growHead(size)
      this.#headSize += this.#head.write(text, this.#headSize)
      return
    }
    const bytes = Buffer.from(text)
    this.#growHead(room)
    this.#headSize += bytes.copy(this.#head, this.#headSize, 0, room)
    this.#addToRing(bytes.subarray(room))
  }

  /** The same text, to which other text is added from now on. */
  copy(): BoundedText {
    const copy = new BoundedText(this.#limit)
    copy.#headLimit = this.#headLimit
    copy.#head = Buffer.from(this.#head)
    copy.#headSize = this.#headSize
    copy.#ring = this.#ring === null ? null : Buffer.from(this.#ring)
    copy.#afterHead = this.#afterHead
    copy.#inTail = this.#inTail
    return copy
  }

  /** Counts bytes that are dropped, and drops what came after the head. */
  skip(bytes: number): void {
    this.#headLimit = this.#headSize
    this.#afterHead += bytes
    this.#inTail = 0
  }

  /** What is kept. If something was dropped, a line in its place has the number of bytes. */
  text(): string {
    const head = this.#head.subarray(0, this.#headSize)
    if (this.#afterHead === 0) return head.toString()
    const tail = this.#tail()
    if (this.#afterHead <= tail.length) return Buffer.concat([head, tail]).toString()
    const headEnd = characterEnd(head)
    const tailStart = nextCharacterStart(tail, 0)
    const dropped = this.#afterHead - tail.length + (head.length - headEnd) + tailStart
    const kept = [head.subarray(0, headEnd), tail.subarray(tailStart)].map(String)
    return kept.join(`\n[${dropped} bytes of output are dropped here]\n`)
  }

  /** Makes room for so many bytes more. */
  #growHead(bytes: number): void {
    const needed = this.#headSize + bytes
    if (needed <= this.#head.length) return
    const size = Math.max(FIRST_HEAD_BYTES, needed, this.#head.length * 2)
    const grown = Buffer.allocUnsafeSlow(Math.min(this.#headLimit, size))
    this.#head.copy(grown, 0, 0, this.#headSize)
    this.#head = grown
  }

  #addToRing(bytes: Buffer): void {
    const size = this.#tailLimit
    if (size > 0) {
      this.#ring ??= Buffer.allocUnsafeSlow(size)
      const latest = bytes.subarray(Math.max(0, bytes.length - size))
      const at = (this.#afterHead + bytes.length - latest.length) % size
      const untilEnd = latest.copy(this.#ring, at)
      latest.copy(this.#ring, 0, untilEnd)
    }
    this.#afterHead += bytes.length
    this.#inTail += bytes.length
  }

  #tail(): Buffer {
    if (this.#ring === null) return Buffer.alloc(0)
    const end = this.#afterHead % this.#tailLimit
    const size = Math.min(this.#inTail, this.#tailLimit)
    const latest = this.#ring.subarray(Math.max(0, end - size), end)
    return Buffer.concat([this.#ring.subarray(this.#tailLimit - (size - latest.length)), latest])
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
