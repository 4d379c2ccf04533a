import { constants, deflateRawSync, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { BrokenArchive, inflated } from '../../../src/audit/bundle/inflate.ts'

/** The output of which is lost if damage shows in it, bytes. */
const CHUNK = 128 * 1024
const START = Buffer.from('1f8b0800000000000003', 'hex')
const content = Buffer.from(
  Array.from({ length: 20_000 }, (_, seq) => `{"seq":${seq},"text":"${seq * 7919}"}\n`).join(''),
)

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function* breakingOff(bytes: Buffer): AsyncGenerator<Buffer> {
  yield* inPieces(bytes, 64 * 1024)
  throw new Error('the connection was closed')
}

/** What is read of an archive, and the error at its end; null if there is none. */
async function read(archive: AsyncIterable<Uint8Array>) {
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of inflated(archive)) chunks.push(chunk)
    return { bytes: Buffer.concat(chunks), error: null }
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error }
  }
}

test('an archive is inflated, in whatever pieces it arrives', async () => {
  const archive = gzipSync(content)
  for (const size of [1_000, 8 * 1024, 64 * 1024, archive.length]) {
    const { bytes, error } = await read(inPieces(archive, size))
    expect(error).toBeNull()
    expect(bytes.equals(content)).toBe(true)
  }
})

test('if the compressed data are damaged, at most one chunk before the damage is lost', async () => {
  const whole = deflateRawSync(content, { finishFlush: constants.Z_FULL_FLUSH })
  // No block is of type 3, which these bits name.
  const damaged = Buffer.concat([START, whole, Buffer.from([0x07]), whole])
  const { bytes, error } = await read(inPieces(damaged, 64 * 1024))
  expect(error).toBeInstanceOf(BrokenArchive)
  expect(String(error)).toContain('it is damaged')
  expect(bytes.length).toBeGreaterThan(content.length - CHUNK)
  expect(content.subarray(0, bytes.length).equals(bytes)).toBe(true)
})

test('if an archive cannot be read to its end, all that was read comes before the error', async () => {
  const part = deflateRawSync(content, { finishFlush: constants.Z_FULL_FLUSH })
  const { bytes, error } = await read(breakingOff(Buffer.concat([START, part])))
  expect(error).toEqual(
    new BrokenArchive('the rest cannot be read: Error: the connection was closed'),
  )
  expect(bytes.equals(content)).toBe(true)
})

test.each([
  ['it was unpacked', Buffer.from('README.txt\0\0')],
  ['another program has packed it again', Buffer.from('1f8b0808000000000003', 'hex')],
])('if an archive comes in another form, the error says that %s', async (why, archive) => {
  const { error } = await read(inPieces(archive, 100))
  expect(error).toBeInstanceOf(BrokenArchive)
  expect(String(error)).toContain(why)
})
