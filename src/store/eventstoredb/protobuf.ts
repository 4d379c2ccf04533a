/** Above this many bytes, a varint may be larger than a number can hold exactly. */
const EXACT_BYTES = 7

/** Reads the fields of protobuf messages in a buffer, without copying it. */
export class ProtobufReader {
  readonly #bytes: Buffer
  #at = 0
  #wireType = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** The number of the next field in a message that ends at `end`; 0 if there is none. Read its value, or skip it. */
  field(end: number): number {
    if (this.#at >= end) return 0
    const tag = this.number()
    this.#wireType = tag & 7
    return tag >>> 3
  }

  /** A varint. Loses digits beyond 2^53. */
  number(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#byte()
      value += (byte & 0x7f) * factor
      if (byte < 128) return value
    }
  }

  /** A varint, exactly. */
  bigint(): bigint {
    const start = this.#at
    const value = this.number()
    if (this.#at - start <= EXACT_BYTES) return BigInt(value)
    let exact = 0n
    for (let at = this.#at - 1; at >= start; at -= 1) {
      exact = (exact << 7n) | BigInt((this.#bytes[at] ?? 0) & 0x7f)
    }
    return exact
  }

  /** Enters a message, or begins bytes or text; returns where it ends. */
  end(): number {
    const length = this.number()
    const end = this.#at + length
    if (end > this.#bytes.length) throw new RangeError('a message is cut off')
    return end
  }

  text(): string {
    const end = this.end()
    const text = this.#bytes.toString('utf8', this.#at, end)
    this.#at = end
    return text
  }

  /** Skips the value of the field whose number was read last. */
  skip(): void {
    if (this.#wireType === 0) this.number()
    else if (this.#wireType === 1) this.#at += 8
    else if (this.#wireType === 5) this.#at += 4
    else this.#at = this.end()
  }

  #byte(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw new RangeError('a message is cut off')
    this.#at += 1
    return byte
  }
}
