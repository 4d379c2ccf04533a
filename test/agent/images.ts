import { crc32, deflateSync } from 'node:zlib'

function chunk(name: string, content: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(name), content])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(content.length)
  sum.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, sum])
}

/** A whole PNG of one colour. */
export function pngOf(
  width: number,
  height: number,
  [r, g, b]: readonly [number, number, number],
): Buffer {
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0])
  header.writeUInt32BE(width)
  header.writeUInt32BE(height, 4)
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(3 * width, Buffer.from([r, g, b]))])
  const rows = Buffer.concat(Array.from({ length: height }, () => row))
  const signature = Buffer.from('89504e470d0a1a0a', 'hex')
  const parts = [
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]
  return Buffer.concat([signature, ...parts])
}

export const PNG = pngOf(2, 3, [200, 30, 30])
export const GIF = Buffer.from('R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=', 'base64')

/** The segments of a JPEG up to its frame, after a preview. */
export function jpegOf(width: number, height: number): Buffer {
  const preview = Buffer.concat([
    Buffer.from('ffe1', 'hex'),
    Buffer.from([0x10, 0x00]),
    Buffer.alloc(0x0ffe),
  ])
  const frame = Buffer.from('ffc0001108000000000301220002110103110100', 'hex')
  frame.writeUInt16BE(height, 5)
  frame.writeUInt16BE(width, 7)
  return Buffer.concat([Buffer.from('ffd8', 'hex'), preview, frame])
}

/** The beginnings of WebP files, as the format's specification describes them. */
export const webp = {
  lossy: Buffer.from('52494646400000005745425056503820340000007001009d012a26027001', 'hex'),
  lossless: Buffer.concat([
    Buffer.from('524946463c000000574542505650384c300000002f', 'hex'),
    Buffer.from('81816200', 'hex'),
  ]),
  extended: Buffer.from('524946463c000000574542505650385830000000100000008f01002c0100', 'hex'),
} as const
