/** What passes between two processes of retrAI over a pipe that nothing else can reach: a head as JSON, and bytes. */
export type Message = { readonly head: unknown; readonly body: Buffer }

/** No message is longer: what comes from the other end must not fill the memory. */
const MAX_BYTES = 128 * 1024 * 1024
const LENGTHS_BYTES = 8

/** `[u32 bytes of the head][u32 bytes of the body][head][body]`, big-endian. */
export function messageBytes(head: object, body: Uint8Array = Buffer.alloc(0)): Buffer {
  const json = Buffer.from(JSON.stringify(head))
  const lengths = Buffer.alloc(LENGTHS_BYTES)
  lengths.writeUInt32BE(json.length, 0)
  lengths.writeUInt32BE(body.length, 4)
  return Buffer.concat([lengths, json, body])
}

/** Splits the received bytes into messages. */
export class MessageReader {
  #chunks: Buffer[] = []
  #bytes = 0

  /** The messages that this chunk completes. Throws if one is too long, or if its head is not JSON. */
  read(chunk: Buffer): Message[] {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    const messages: Message[] = []
    for (let next = this.#next(); next !== null; next = this.#next()) messages.push(next)
    return messages
  }

  #next(): Message | null {
    if (this.#bytes < LENGTHS_BYTES) return null
    const [first] = this.#chunks
    const lengths = first !== undefined && first.length >= LENGTHS_BYTES ? first : this.#all()
    const [head, body] = [lengths.readUInt32BE(0), lengths.readUInt32BE(4)]
    const end = LENGTHS_BYTES + head + body
    if (end > MAX_BYTES) throw new Error(`a message has ${end} bytes`)
    if (this.#bytes < end) return null
    const bytes = this.#all()
    this.#chunks = [bytes.subarray(end)]
    this.#bytes -= end
    const at = LENGTHS_BYTES + head
    return {
      head: JSON.parse(bytes.toString('utf8', LENGTHS_BYTES, at)),
      body: bytes.subarray(at, end),
    }
  }

  #all(): Buffer {
    const bytes = this.#chunks.length === 1 ? this.#chunks[0] : undefined
    const all = bytes ?? Buffer.concat(this.#chunks)
    this.#chunks = [all]
    return all
  }
}
