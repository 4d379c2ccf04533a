import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { processMask } from '../log/masking.ts'
import { BoundedText } from './bounded-text.ts'
import type { OutputPiece } from './protocol.ts'

/**
 * Once a stream has passed half of its limit, other work gets a turn after this much time of reading, so a flood delays
 * nothing.
 */
const WORK_MS = 4
/**
 * Text that is held back is checked again with each chunk, so chunks that are smaller than that text are first
 * collected for this time.
 */
const REST_MS = 2

type Sink = Pick<BoundedText, 'add' | 'skip'>

/** What is done with the output while it comes. */
type Uses = {
  readonly maxTotalBytes: number
  readonly onTooMuch: () => void
  /** Called with each piece of both streams, masked and in order. */
  readonly onOutput?: (text: string) => void
  /** Gets both streams, instead of a text that keeps `maxBytes`. */
  readonly both?: Sink
}

type CollectedOutput = {
  readonly stdout: BoundedText
  readonly stderr: BoundedText
  /** Both streams in the order in which they came. A character whose bytes came in two chunks stays whole. */
  readonly both: Pick<BoundedText, 'text'>
  readonly bytes: () => number
  /** Resolves when both streams are closed. */
  readonly closed: Promise<unknown>
}

/**
 * Reads both streams of a child to their end, keeping at most `maxBytes` of each. Secrets are masked before anything is
 * dropped: half of one is not recognized. `onTooMuch` is called once both together have more than `maxTotalBytes`.
 */
export function collectOutput(
  /** Streams of `OutputPiece`s. */
  streams: { readonly stdout: Readable; readonly stderr: Readable },
  maxBytes: number,
  { maxTotalBytes, onTooMuch, onOutput = () => {}, both }: Uses,
): CollectedOutput {
  const joined = new Joined(both ?? null)
  const adders = interleave((text) => {
    joined.add(text)
    if (text !== '') onOutput(text)
  })
  let total = 0
  const follow = (stream: Readable, add: Add): { own: BoundedText; closed: Promise<void> } => {
    const side = new MaskedSide(add, maxBytes, joined)
    let seen = 0
    let workedMs = 0
    stream.on('error', () => {})
    stream.on('data', (piece: OutputPiece) => {
      const began = performance.now()
      const { length } = piece.chunk
      seen += length
      total += length + piece.gap
      joined.begin(side.own)
      side.take(piece)
      if (total > maxTotalBytes) onTooMuch()
      workedMs += performance.now() - began
      const isCrumb = length < side.heldChars
      const isMuchWork = seen > maxBytes / 2 && workedMs >= WORK_MS
      if (!isCrumb && !isMuchWork) return
      workedMs = 0
      stream.pause()
      if (isCrumb) setTimeout(() => stream.resume(), REST_MS)
      else setImmediate(() => stream.resume())
    })
    const closed = new Promise<void>((resolve) => {
      stream.once('close', () => {
        side.end()
        resolve()
      })
    })
    return { own: side.own, closed }
  }
  const [out, err] = [follow(streams.stdout, adders[0]), follow(streams.stderr, adders[1])]
  return {
    ...{ stdout: out.own, stderr: err.own, both: joined },
    bytes: () => total,
    closed: Promise.all([out.closed, err.closed]),
  }
}

/** Both streams of a command. Most commands use only one: until the other begins, this is the text of that one. */
class Joined implements Sink {
  #sink: Sink | null
  #text: BoundedText | null = null
  #first: BoundedText | null = null

  /** @param sink gets both streams, in place of a text of its own */
  constructor(sink: Sink | null) {
    this.#sink = sink
  }

  /** Called before text of a stream comes. */
  begin(own: BoundedText): void {
    this.#first ??= own
    if (this.#sink !== null || own === this.#first) return
    this.#text = this.#first.copy()
    this.#sink = this.#text
  }

  add(text: string): void {
    this.#sink?.add(text)
  }

  skip(bytes: number): void {
    this.#sink?.skip(bytes)
  }

  text(): string {
    return (this.#text ?? this.#first)?.text() ?? ''
  }
}

/** One stream of a command as masked text. */
class MaskedSide {
  readonly own: BoundedText
  readonly #both: Sink
  readonly #add: Add
  #decoder = new StringDecoder('utf8')
  #pieces = processMask.pieces()

  constructor(add: Add, maxBytes: number, both: Sink) {
    this.own = new BoundedText(maxBytes)
    this.#both = both
    this.#add = add
  }

  get heldChars(): number {
    return this.#pieces.heldChars
  }

  take({ chunk, gap, isMuted }: OutputPiece): void {
    if (gap > 0) this.#beginAfter(gap)
    const masked = this.#pieces.write(this.#decoder.write(chunk))
    if (isMuted) this.#skip(chunk.length)
    else this.#show(masked)
  }

  end(): void {
    this.#show(this.#pieces.write(this.#decoder.end()) + this.#pieces.end())
  }

  #show(masked: string): void {
    this.own.add(masked)
    this.#add(masked, this.heldChars > 0)
  }

  /** Begins again after bytes that were dropped, with what was held back before them. */
  #beginAfter(gap: number): void {
    const held = this.#pieces.write(this.#decoder.end()) + this.#pieces.end()
    this.#decoder = new StringDecoder('utf8')
    this.#pieces = processMask.pieces()
    this.#add('', false)
    this.#skip(Buffer.byteLength(held) + gap)
  }

  #skip(bytes: number): void {
    this.own.skip(bytes)
    this.#both.skip(bytes)
  }
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
