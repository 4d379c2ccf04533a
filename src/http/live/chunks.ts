/** About how much is handed to a response at once, bytes. */
export const CHUNK = 256 * 1024

/** Lays small pieces one behind the other, into chunks that are worth a write. */
export class Chunks {
  readonly #done: Buffer[] = []
  #memory = Buffer.alloc(0)
  #used = 0

  get full(): boolean {
    return this.#done.length > 0 || this.#used >= CHUNK
  }

  get empty(): boolean {
    return this.#done.length === 0 && this.#used === 0
  }

  /** @param text of ASCII */
  addText(text: string): void {
    this.#makeRoom(text.length)
    this.#used += this.#memory.write(text, this.#used, 'latin1')
  }

  add(piece: Buffer): void {
    this.#makeRoom(piece.length)
    this.#used += piece.copy(this.#memory, this.#used)
  }

  take(): Buffer {
    if (this.#used > 0) this.#finish()
    const [first] = this.#done
    const chunk = this.#done.length === 1 && first !== undefined ? first : Buffer.concat(this.#done)
    this.#done.length = 0
    return chunk
  }

  #makeRoom(bytes: number): void {
    if (this.#used + bytes <= this.#memory.length) return
    if (this.#used > 0) this.#finish()
    this.#memory = Buffer.allocUnsafeSlow(Math.max(bytes, CHUNK))
  }

  /** What was handed out is never written to again. */
  #finish(): void {
    this.#done.push(this.#memory.subarray(0, this.#used))
    this.#memory = this.#memory.subarray(this.#used)
    this.#used = 0
  }
}
