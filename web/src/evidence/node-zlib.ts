import { Z_FINISH, Z_STREAM_END, ZStream, zlibInflate, zlibInflateInit } from 'pako'

/** Replaces `node:zlib` in a page of evidence: the part that the server's own code for verifying needs. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  return value
})

export function crc32(content: string | Uint8Array, before = 0): number {
  let crc = ~before
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
  for (const byte of bytes) {
    crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0)
  }
  return ~crc >>> 0
}

/** The content that the bytes begin with, and how many of them it takes. */
export function inflateSync(input: Uint8Array, { maxOutputLength: avail_out = 0 }) {
  const output = new Uint8Array(avail_out)
  const stream = Object.assign(new ZStream(), {
    input,
    avail_in: input.length,
    output,
    avail_out,
  })
  zlibInflateInit(stream)
  if (zlibInflate(stream, Z_FINISH) !== Z_STREAM_END) throw new Error('it cannot be inflated')
  const buffer = Buffer.from(output.buffer, 0, stream.total_out)
  return { buffer, engine: { bytesWritten: stream.total_in } }
}
