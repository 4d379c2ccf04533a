import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { deflateSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { guardSecrets } from '../../../src/masking/process-mask.ts'
import { GIF, jpegOf, PNG, webp } from '../images.ts'
import { projectWith } from './support.ts'

const seeing = {
  imageTypes: async () => ['image/png', 'image/jpeg', 'image/gif', 'image/webp'] as const,
}

/** Reads a file as an agent whose model is shown images. */
async function read(
  content: Buffer,
  context: Parameters<Awaited<ReturnType<typeof projectWith>>['run']>[3] = seeing,
) {
  const { run, artifacts } = await projectWith({ 'a.bin': content })
  const result = await run('file_read', { path: 'a.bin' }, undefined, context)
  const kept = result.sha256 === null ? null : await artifacts.read(result.sha256)
  return { result, kept: kept && (await buffer(kept.stream)) }
}

test.each([
  ['PNG', PNG, { media_type: 'image/png', width: 2, height: 3 }],
  ['GIF', GIF, { media_type: 'image/gif', width: 1, height: 1 }],
  ['JPEG', jpegOf(640, 480), { media_type: 'image/jpeg', width: 640, height: 480 }],
  ['WebP', webp.lossy, { media_type: 'image/webp', width: 550, height: 368 }],
  ['WebP', webp.lossless, { media_type: 'image/webp', width: 386, height: 395 }],
  ['WebP', webp.extended, { media_type: 'image/webp', width: 400, height: 301 }],
])(
  'a %s is kept as an artifact, and the result has its type and size',
  async (name, content, image) => {
    const { result, kept } = await read(content)
    expect(result).toMatchObject({
      outcome: 'ok',
      image,
      bytes: content.length,
      truncated: true,
      sha256: createHash('sha256').update(content).digest('hex'),
      output: `a.bin: ${name} image, ${image.width} × ${image.height} pixels, ${content.length} bytes.`,
    })
    expect(kept?.equals(content)).toBe(true)
  },
)

test('if the model cannot see images of this type, it gets a sentence, and nothing is kept', async () => {
  const { result, kept } = await read(PNG, {})
  expect(result).toMatchObject({ outcome: 'ok', sha256: null, truncated: false })
  expect(result.output).toContain('2 × 3 pixels')
  expect(result.output).toContain('the model in use takes no images')
  expect(kept).toBeNull()
  expect(result).not.toHaveProperty('image')
  const other = await read(GIF, { imageTypes: async () => ['image/png'] })
  expect(other.result).toMatchObject({ outcome: 'error', sha256: null })
  expect(other.result.output).toContain('takes only PNG. Convert it.')
})

test('an image that is too large, damaged, or holds a secret is not kept', async () => {
  const large = Buffer.concat([PNG, Buffer.alloc(4_000_000)])
  expect((await read(large)).result.output).toContain('at most 3750000 bytes')
  const wide = Buffer.from(PNG)
  wide.writeUInt32BE(9_000, 16)
  expect((await read(wide)).result.output).toContain('8000 pixels a side')
  expect((await read(PNG.subarray(0, 18))).result.output).toContain('is damaged')
  const secret = 'only-the-server-knows-this-1'
  guardSecrets([{ name: 'secret', value: secret }])
  const telling = Buffer.concat([PNG, Buffer.from(`tEXtComment\0${secret}`)])
  const { result, kept } = await read(telling)
  expect(result.output).toContain('contains a secret')
  expect([kept, JSON.stringify(result).includes(secret)]).toEqual([null, false])
})

test('a file that only begins like an image counts as damaged, and other binary files as binary', async () => {
  const jpeg = Buffer.concat([Buffer.from('ffd8ffe0', 'hex'), deflateSync('x')])
  expect((await read(jpeg)).result).toMatchObject({ outcome: 'error', sha256: null })
  expect((await read(Buffer.from([1, 0, 2]))).result.output).toBe('a.bin is a binary file.')
})
