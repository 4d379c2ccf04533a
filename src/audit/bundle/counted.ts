import { createHash } from 'node:crypto'

/** The parts that are held in memory while they are read are never larger. */
const MAX_SMALL_PART = 64 * 1024 * 1024

/** The bytes of a part, counted and hashed as they are read. */
export class Counted implements AsyncIterable<Uint8Array> {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #hash = createHash('sha256')
  #digest: string | null = null
  bytes = 0

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#chunks = body[Symbol.asyncIterator]()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const { done, value } = await this.#chunks.next()
      if (done) return
      this.#hash.update(value)
      this.bytes += value.length
      yield value
    }
  }

  async drain(): Promise<void> {
    for await (const _ of this);
  }

  /** @throws where it is too large to be what it should be */
  async text(): Promise<string> {
    const chunks: Uint8Array[] = []
    for await (const chunk of this) {
      chunks.push(chunk)
      if (this.bytes > MAX_SMALL_PART) throw new Error('a part is far too large')
    }
    return Buffer.concat(chunks).toString()
  }

  /** Of all that was read. */
  get sha256(): string {
    this.#digest ??= this.#hash.digest('hex')
    return this.#digest
  }
}
