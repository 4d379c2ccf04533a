import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { BoundedText } from './bounded-text.ts'

/** How long a stream rests after each chunk once it is past its limit: a flood must not busy us. */
const REST_MS = 2

export type CollectedOutput = {
  readonly stdout: BoundedText
  readonly stderr: BoundedText
  /** Both as they came; a character whose bytes came in two chunks stays whole. */
  readonly both: BoundedText
  readonly bytes: () => number
  /** Resolves when both streams are closed. */
  readonly closed: Promise<unknown>
}

/** Reads both streams of a child to their end, keeping at most `maxBytes` of each. */
export function collectOutput(
  streams: { readonly stdout: Readable; readonly stderr: Readable },
  maxBytes: number,
): CollectedOutput {
  const both = new BoundedText(maxBytes)
  let total = 0
  const follow = (stream: Readable, own: BoundedText): Promise<void> => {
    const decoder = new StringDecoder('utf8')
    const take = (text: string) => {
      own.add(text)
      both.add(text)
    }
    let seen = 0
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      seen += chunk.length
      total += chunk.length
      take(decoder.write(chunk))
      if (seen <= maxBytes) return
      stream.pause()
      setTimeout(() => stream.resume(), REST_MS)
    })
    return new Promise((resolve) => {
      stream.once('close', () => {
        take(decoder.end())
        resolve()
      })
    })
  }
  const stdout = new BoundedText(maxBytes)
  const stderr = new BoundedText(maxBytes)
  const closed = Promise.all([follow(streams.stdout, stdout), follow(streams.stderr, stderr)])
  return { stdout, stderr, both, bytes: () => total, closed }
}
