import { constants, createGunzip } from 'node:zlib'

/** Bytes. Small, since what came of the piece in which damage shows is lost; smaller ones cost time. */
const PIECE = 1024
/** Checksum and length, which stand at the end, bytes. */
const TRAILER = 8

/**
 * What is in a gzip file, up to where it ends or is damaged; returns what is wrong there, null for nothing.
 * A stream that fails drops what it has read ahead, so that damage would seem to be earlier than it is:
 * hence the small pieces, and the trailer goes in by itself.
 */
export async function* inflated(
  archive: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, Error | null> {
  // What is there of a file that ends early is looked at.
  const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH })
  const ready: Uint8Array[] = []
  let failure: Error | null = null
  let wake: () => void = () => {}
  gunzip.on('data', (chunk: Uint8Array) => ready.push(chunk))
  gunzip.on('end', () => wake())
  gunzip.on('error', (error) => {
    failure = error
    wake()
  })
  const done = (start: () => void) =>
    new Promise<void>((resolve) => {
      wake = resolve
      start()
    })
  try {
    for await (const piece of piecesOf(archive)) {
      await done(() => gunzip.write(piece, () => wake()))
      yield* ready.splice(0)
      if (failure !== null) return failure
    }
    await done(() => gunzip.end())
    yield* ready.splice(0)
    return failure
  } finally {
    gunzip.destroy()
  }
}

async function* piecesOf(archive: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array = new Uint8Array()
  for await (const chunk of archive) {
    const known = Buffer.concat([held, chunk])
    const end = Math.max(0, known.length - TRAILER)
    for (let at = 0; at < end; at += PIECE) yield known.subarray(at, Math.min(at + PIECE, end))
    held = known.subarray(end)
  }
  yield held
}
