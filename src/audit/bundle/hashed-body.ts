import { createHash } from 'node:crypto'

/** A part that is held in memory while it is read is never larger. */
const MAX_TEXT_BYTES = 64 * 1024 * 1024

/** The bytes of a part, counted and hashed as they are read. */
export class HashedBody implements AsyncIterable<Uint8Array> {
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

  /** @throws if the part is far larger than any text in an export */
  async text(): Promise<string> {
    const chunks: Uint8Array[] = []
    for await (const chunk of this) {
      chunks.push(chunk)
      if (this.bytes > MAX_TEXT_BYTES) throw new Error('a part is far too large')
    }
    return Buffer.concat(chunks).toString()
  }

  /** Of everything that was read. Nothing can be read after it. */
  get sha256(): string {
    this.#digest ??= this.#hash.digest('hex')
    return this.#digest
  }
}
