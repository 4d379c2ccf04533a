/** How much is kept of output that nobody reads. */
const MAX_CHARS = 256 * 1024

/**
 * The output of a process that was not read yet. If it is longer than a limit, the oldest part is dropped, up to the
 * beginning of a line. What is read names how much was dropped, and where.
 */
export class UnreadText {
  readonly #maxChars: number
  #pieces: string[] = []
  #chars = 0
  #droppedBytes = 0

  constructor(maxChars = MAX_CHARS) {
    this.#maxChars = maxChars
  }

  add(piece: string): void {
    this.#pieces.push(piece)
    this.#chars += piece.length
    // In large parts, so that a flood costs little.
    if (this.#chars > 2 * this.#maxChars) this.#dropOldest()
  }

  /** Notes that bytes are missing here. */
  skip(bytes: number): void {
    this.add(marker(bytes))
  }

  /** All of it, which stays unread. */
  text(): string {
    if (this.#chars > this.#maxChars) this.#dropOldest()
    this.#pieces = [this.#pieces.join('')]
    const [text = ''] = this.#pieces
    return this.#droppedBytes === 0 ? text : `${marker(this.#droppedBytes)}${text}`
  }

  /** All of it. What comes later is new. */
  take(): string {
    const text = this.text()
    this.#pieces = []
    this.#chars = 0
    this.#droppedBytes = 0
    return text
  }

  #dropOldest(): void {
    const all = this.#pieces.join('')
    const from = all.length - this.#maxChars
    const newline = all.indexOf('\n', from - 1)
    const start = newline === -1 ? from : newline + 1
    this.#droppedBytes += Buffer.byteLength(all.slice(0, start))
    const kept = all.slice(start)
    this.#pieces = [kept]
    this.#chars = kept.length
  }
}

const marker = (bytes: number): string => `\n[${bytes} bytes of output are dropped here]\n`
