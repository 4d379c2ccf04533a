/** About how much is handed to a response at once, bytes. */
export const CHUNK = 64 * 1024

/** Collects small pieces into chunks that are worth a write. */
export class Chunks {
  #pieces: Buffer[] = []
  #size = 0

  get full(): boolean {
    return this.#size >= CHUNK
  }

  get empty(): boolean {
    return this.#size === 0
  }

  add(...pieces: readonly Buffer[]): void {
    for (const piece of pieces) {
      this.#pieces.push(piece)
      this.#size += piece.length
    }
  }

  take(): Buffer {
    const chunk = Buffer.concat(this.#pieces, this.#size)
    this.#pieces = []
    this.#size = 0
    return chunk
  }
}
