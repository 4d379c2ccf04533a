import type { FileHandle } from 'node:fs/promises'
import type { ImageType, ResultImage } from '../../domain/records.ts'
import { processMask } from '../../log/masking.ts'
import { failed, succeeded, type ToolContext, type ToolOutput } from './tool.ts'

/** An image may become 5 MB in base64, the least that a provider takes. */
const MAX_BYTES = 3_750_000
/** Of each side: no provider takes more. */
const MAX_PIXELS = 8_000
/** How far into a file its size in pixels is searched: a JPEG may have a preview and a profile of its colours before it. */
const HEAD_BYTES = 512 * 1024

/** What a file is by its first bytes; null if it is no image that models take. */
function imageTypeOf(head: Buffer): ImageType | null {
  const text = head.subarray(0, 12).toString('latin1')
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png'
  if (text.startsWith('\xff\xd8\xff')) return 'image/jpeg'
  if (/^GIF8[79]a/.test(text)) return 'image/gif'
  return /^RIFF.{4}WEBP/s.test(text) ? 'image/webp' : null
}

/** The type of an image and its size in pixels; null if it has another format, or its size is not in these bytes. */
function imageOf(head: Buffer): ResultImage | null {
  const media_type = imageTypeOf(head)
  if (media_type === null) return null
  try {
    const size = SIZES[media_type](head)
    return size === null ? null : { media_type, ...size }
  } catch (cause) {
    // A number would be after the end.
    if (cause instanceof RangeError) return null
    throw cause
  }
}

type Size = Pick<ResultImage, 'width' | 'height'>

const SIZES: Readonly<Record<ImageType, (head: Buffer) => Size | null>> = {
  'image/png': (head) => ({ width: head.readUInt32BE(16), height: head.readUInt32BE(20) }),
  'image/gif': (head) => ({ width: head.readUInt16LE(6), height: head.readUInt16LE(8) }),
  'image/jpeg': jpegSize,
  'image/webp': webpSize,
}

/** The markers of JPEG that begin a frame, which has the size. */
const FRAMES: ReadonlySet<number> = new Set([
  ...[0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf],
])

function jpegSize(head: Buffer): Size | null {
  for (let at = 2; ; ) {
    if (head.readUInt8(at) !== 0xff) return null
    const marker = head.readUInt8(at + 1)
    if (marker === 0xff) at += 1
    else if (FRAMES.has(marker)) {
      return { height: head.readUInt16BE(at + 5), width: head.readUInt16BE(at + 7) }
    } else at += 2 + head.readUInt16BE(at + 2)
  }
}

function webpSize(head: Buffer): Size | null {
  switch (head.subarray(12, 16).toString('latin1')) {
    case 'VP8 ':
      return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff }
    case 'VP8L': {
      const bits = head.readUInt32LE(21)
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 }
    }
    case 'VP8X':
      return { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 }
    default:
      return null
  }
}

const NAMES: Readonly<Record<ImageType, string>> = {
  'image/png': 'PNG',
  'image/jpeg': 'JPEG',
  'image/gif': 'GIF',
  'image/webp': 'WebP',
}

/** Reads a file that is an image, for a model that can be shown it; for others, a sentence about it. Null for a file of another format. */
export async function readImage(
  file: FileHandle,
  { size, what }: { readonly size: number; readonly what: string },
  { imageTypes }: Pick<ToolContext, 'imageTypes'>,
): Promise<ToolOutput | null> {
  const head = Buffer.alloc(Math.min(size, HEAD_BYTES))
  const { bytesRead } = await file.read(head, 0, head.length, 0)
  const begun = head.subarray(0, bytesRead)
  const type = imageTypeOf(begun)
  if (type === null) return null
  const image = imageOf(begun)
  if (image === null) return failed(`${what} begins like a ${NAMES[type]} image, but is damaged.`)
  const { width, height } = image
  const about = `${what}: ${NAMES[type]} image, ${width} × ${height} pixels, ${size} bytes.`
  const types = await imageTypes()
  if (types.length === 0)
    return succeeded(`${about} It is not shown: the model in use takes no images.`)
  const others = types.map((one) => NAMES[one]).join(', ')
  if (!types.includes(type)) {
    return failed(`${about} It is not shown: the model in use takes only ${others}. Convert it.`)
  }
  if (size > MAX_BYTES || Math.max(width, height) > MAX_PIXELS || Math.min(width, height) < 1) {
    const most = `${MAX_BYTES} bytes and ${MAX_PIXELS} pixels a side`
    return failed(`${about} It is not shown: images have at most ${most}. Make a smaller copy.`)
  }
  const content = Buffer.alloc(size)
  const { bytesRead: read } = await file.read(content, 0, size, 0)
  if (read !== size) return failed(`${what} was changed while it was read. Read it again.`)
  const text = content.toString('latin1')
  if (processMask.text(text) !== text) {
    return failed(`${about} It is not shown, because its data contain a secret.`)
  }
  return { ...succeeded(about), image: { ...image, content } }
}
