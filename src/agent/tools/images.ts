import type { ImageType, ResultImage } from '../../domain/records.ts'
import { processMask } from '../../log/masking.ts'
import { type OpenFile, readWhole } from '../../workspace/read-file.ts'
import { failedBy } from './path-problem.ts'
import { failed, succeeded, type ToolContext, type ToolOutput } from './tool.ts'

/** An image may become 5 MB in base64, the least that a provider takes. */
const MAX_BYTES = 3_750_000
/** The longest side: no provider takes more. */
const MAX_PIXELS = 8_000
/** How much of a file is searched for its size in pixels: in a JPEG, a preview and a colour profile may come before it. */
const HEAD_BYTES = 512 * 1024

/** The type of a file, by its first bytes; null if it is not an image that models take. */
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

/** A description of an image, with the image if the model in use can be shown it, or else with the reason why not. */
type Look<Image> = { readonly about: string } & (
  | { readonly image: Image }
  | { readonly problem: string; readonly remedy?: string }
)

/**
 * Null if these bytes are not the beginning of an image that models take.
 * @param size of the whole, in bytes
 */
function lookAt(head: Buffer, size: number, types: readonly ImageType[]): Look<ResultImage> | null {
  const type = imageTypeOf(head)
  if (type === null) return null
  const image = imageOf(head)
  if (image === null) {
    const about = `${NAMES[type]} image, ${size} bytes`
    return { about, problem: 'It is not shown, because it is damaged.' }
  }
  const { width, height } = image
  const about = `${NAMES[type]} image, ${width} × ${height} pixels, ${size} bytes`
  if (types.length === 0) {
    return { about, problem: 'It is not shown: the model in use takes no images.' }
  }
  if (!types.includes(type)) {
    const others = types.map((one) => NAMES[one]).join(', ')
    const problem = `It is not shown: the model in use takes only ${others}.`
    return { about, problem, remedy: 'Convert it.' }
  }
  if (size > MAX_BYTES || Math.max(width, height) > MAX_PIXELS || Math.min(width, height) < 1) {
    const problem = `It is not shown: images have at most ${MAX_BYTES} bytes and ${MAX_PIXELS} pixels a side.`
    return { about, problem, remedy: 'Make a smaller copy.' }
  }
  return { about, image }
}

/** Null if this is not an image that models take. */
export function imageIn(
  content: Buffer,
  types: readonly ImageType[],
): Look<NonNullable<ToolOutput['image']>> | null {
  const look = lookAt(content.subarray(0, HEAD_BYTES), content.length, types)
  if (look === null || 'problem' in look) return look
  const { about, image } = look
  const text = content.toString('latin1')
  if (processMask.text(text) !== text) {
    return { about, problem: 'It is not shown, because its data contains a secret.' }
  }
  return { about, image: { ...image, content } }
}

/** A file that is an image, for a model that can be shown it; for others, a sentence about it. Null for a file of another format. */
export async function readImage(
  { shown: what, size, head }: OpenFile,
  { workspace, imageTypes, signal }: Pick<ToolContext, 'workspace' | 'imageTypes' | 'signal'>,
): Promise<ToolOutput | null> {
  if (imageTypeOf(head) === null) return null
  const types = await imageTypes()
  const look = lookAt(head, size, types)
  if (look !== null && 'problem' in look) return notShown(what, look, types.length === 0)
  const read = await readWhole(workspace, { path: what, maxBytes: MAX_BYTES, signal })
  if (read.isErr()) return failedBy(what, read.error)
  const { content } = read.value
  const whole = content.length === size ? imageIn(content, types) : null
  if (whole === null) return failed(`${what} was changed while it was read. Read it again.`)
  if ('problem' in whole) return notShown(what, whole, false)
  return { ...succeeded(`${what}: ${whole.about}.`), image: whole.image }
}

/** @param isFine whether the call counts as a success although its model takes no images */
function notShown(
  what: string,
  { about, problem, remedy = '' }: Extract<Look<never>, { problem: string }>,
  isFine: boolean,
): ToolOutput {
  const sentence = `${what}: ${about}. ${problem} ${remedy}`.trimEnd()
  return isFine ? succeeded(sentence) : failed(sentence)
}
