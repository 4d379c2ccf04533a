import { GIF } from 'image-size/types/gif'
import { JPG } from 'image-size/types/jpg'
import { PNG } from 'image-size/types/png'
import { WEBP } from 'image-size/types/webp'
import type { ImageType, ResultImage } from '../domain/records.ts'
import { processMask } from '../masking/process-mask.ts'

/** An image may become 5 MB in base64, the least that a provider takes. */
const MAX_BYTES = 3_750_000
/** The longest side: no provider takes more. */
const MAX_PIXELS = 8_000
/** How much of a file is searched for its size in pixels: in a JPEG, a preview and a colour profile may come before it. */
const HEAD_BYTES = 512 * 1024

const FORMATS = [
  { type: 'image/png', name: 'PNG', format: PNG },
  { type: 'image/jpeg', name: 'JPEG', format: JPG },
  { type: 'image/gif', name: 'GIF', format: GIF },
  { type: 'image/webp', name: 'WebP', format: WEBP },
] as const

/** Whether these bytes begin like an image that models take. */
export const isImage = (head: Buffer): boolean => formatOf(head) !== undefined

/** The format of a file, by its first bytes; undefined if it is not an image that models take. */
const formatOf = (head: Buffer) =>
  FORMATS.find(({ format }) => {
    try {
      return format.validate(head)
    } catch {
      return true // It begins like one, but is damaged.
    }
  })

/** The size of an image in pixels; null if it is not in these bytes. */
function sizeIn(head: Buffer, format: (typeof FORMATS)[number]['format']) {
  try {
    // A copy ends where the head does. A view would let it read on in the memory of others.
    const { width, height } = format.calculate(new Uint8Array(head))
    return width >= 1 && height >= 1 ? { width, height } : null
  } catch {
    return null
  }
}

/** An image that a model is shown. */
export type ShownImage = ResultImage & { readonly content: Buffer }

/** A description of an image, with the image if the model in use can be shown it, or else with the reason why not. */
type Look = { readonly about: string } & (
  | { readonly image: ShownImage }
  | { readonly problem: string }
)

/**
 * Null if these bytes are not the beginning of an image that models take.
 * @param size of the whole, in bytes; larger images are not read as a whole
 */
export function imageIn(
  content: Buffer,
  types: readonly ImageType[],
  size = content.length,
): Look | null {
  const found = formatOf(content)
  if (found === undefined) return null
  const { type, name, format } = found
  const pixels = sizeIn(content.subarray(0, HEAD_BYTES), format)
  if (pixels === null) {
    const about = `${name} image, ${size} bytes`
    return { about, problem: 'It is not shown, because it is damaged.' }
  }
  const { width, height } = pixels
  const about = `${name} image, ${width} × ${height} pixels, ${size} bytes`
  const notShown = (why: string): Look => ({ about, problem: `It is not shown${why}.` })
  if (types.length === 0) return notShown(': the model in use takes no images')
  if (!types.includes(type)) {
    const others = FORMATS.filter((one) => types.includes(one.type)).map((one) => one.name)
    return notShown(`: the model in use takes only ${others.join(', ')}. Convert it`)
  }
  if (size > MAX_BYTES || Math.max(width, height) > MAX_PIXELS) {
    const most = `${MAX_BYTES} bytes and ${MAX_PIXELS} pixels a side`
    return notShown(`: images have at most ${most}. Make a smaller copy`)
  }
  const text = content.toString('latin1')
  if (processMask.text(text) !== text) return notShown(', because its data contains a secret')
  return { about, image: { media_type: type, width, height, content } }
}
