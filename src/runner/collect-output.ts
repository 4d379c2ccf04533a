import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { processMask } from '../log/masking.ts'
import { BoundedText } from './bounded-text.ts'

/** Once a stream is over its limit, it pauses so long after so much work, so that a flood does not keep this process busy. */
const REST_MS = 2
const WORK_MS = 4
/** Text that is held back is checked again with each chunk, so chunks smaller than this are collected first. */
const SMALL_BYTES = 16 * 1024

type CollectedOutput = {
  readonly stdout: BoundedText
  readonly stderr: BoundedText
  /** Both in the order in which they came. A character whose bytes came in two chunks stays whole. */
  readonly both: BoundedText
  readonly bytes: () => number
  /** Resolves when both streams are closed. */
  readonly closed: Promise<unknown>
}

/**
 * Reads both streams of a child to their end, keeping at most `maxBytes` of each. Secrets are masked before anything is
 * dropped, because a half of one would not be recognized. `onTooMuch` is called once both together have more than
 * `maxTotalBytes`.
 */
export function collectOutput(
  streams: { readonly stdout: Readable; readonly stderr: Readable },
  maxBytes: number,
  {
    maxTotalBytes,
    onTooMuch,
    onOutput = () => {},
  }: {
    readonly maxTotalBytes: number
    readonly onTooMuch: () => void
    /** Called with each piece of both streams, masked and in order. */
    readonly onOutput?: (text: string) => void
  },
): CollectedOutput {
  const both = new BoundedText(maxBytes)
  let total = 0
  const follow = (
    stream: Readable,
    own: BoundedText,
    addToBoth: (text: string, holds: boolean) => void,
  ): Promise<void> => {
    const decoder = new StringDecoder('utf8')
    const pieces = processMask.pieces()
    const take = (text: string, isLast = false) => {
      const masked = isLast ? pieces.write(text) + pieces.end() : pieces.write(text)
      own.add(masked)
      addToBoth(masked, pieces.holds)
    }
    let seen = 0
    let workedMs = 0
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      const began = performance.now()
      seen += chunk.length
      total += chunk.length
      take(decoder.write(chunk))
      if (total > maxTotalBytes) onTooMuch()
      workedMs += performance.now() - began
      const isCrumb = pieces.holds && chunk.length < SMALL_BYTES
      const isFlood = seen > maxBytes && workedMs >= WORK_MS
      if (!isCrumb && !isFlood) return
      workedMs = 0
      stream.pause()
      setTimeout(() => stream.resume(), REST_MS)
    })
    return new Promise((resolve) => {
      stream.once('close', () => {
        take(decoder.end(), true)
        resolve()
      })
    })
  }
  const stdout = new BoundedText(maxBytes)
  const stderr = new BoundedText(maxBytes)
  const [addOut, addErr] = interleave((text) => {
    both.add(text)
    if (text !== '') onOutput(text)
  })
  const closed = Promise.all([
    follow(streams.stdout, stdout, addOut),
    follow(streams.stderr, stderr, addErr),
  ])
  return { stdout, stderr, both, bytes: () => total, closed }
}

/** The longest text that waits for the other side, in characters. */
const MAX_WAITING = 64_000

/** Adds text of one side. `holds`: more text of this side is held back, which came before what follows. */
type Add = (text: string, holds: boolean) => void

/** Joins two texts in the order in which they come. While a part of one is held back, the other waits for it. */
export function interleave(add: (text: string) => void): readonly [Add, Add] {
  const first = { holds: false, waiting: '' }
  const second = { holds: false, waiting: '' }
  const release = (side: typeof first): void => {
    add(side.waiting)
    side.waiting = ''
  }
  const adder =
    (side: typeof first, other: typeof first): Add =>
    (text, holds) => {
      side.holds = holds
      if (other.holds) {
        side.waiting += text
        if (side.waiting.length > MAX_WAITING) release(side)
      } else {
        add(text)
      }
      if (!holds) release(other)
    }
  return [adder(first, second), adder(second, first)]
}
