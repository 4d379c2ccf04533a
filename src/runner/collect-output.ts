import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { setImmediate } from 'node:timers/promises'
import { processMask } from '../log/masking.ts'
import { BoundedText } from './bounded-text.ts'
import { OutputQueue, type Side, type Waiting } from './output-queue.ts'

/** Work on a flood that is done at once, and the pause after it, so that it does not keep this process busy. */
const WORK_MS = 4
const REST_MS = 40
/** Text that is held back is checked again with each chunk, so chunks smaller than this are collected first. */
const SMALL_BYTES = 16 * 1024
const PAUSE_MS = 2

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
 * dropped, because a half of one would not be recognized; of a flood, only what may be kept is masked. `onTooMuch` is
 * called once both together have more than `maxTotalBytes`.
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
  const adders = interleave((text) => {
    both.add(text)
    if (text !== '') onOutput(text)
  })
  const sides = [
    new MaskedSide(adders[0], maxBytes, both),
    new MaskedSide(adders[1], maxBytes, both),
  ] as const
  const queue = new OutputQueue(Math.ceil(maxBytes / 2))
  let total = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  const take = (one: Waiting): void => sides[one.side].take(one)
  /** Works on what waits for some time; whether more waits. */
  const work = (): boolean => {
    const until = performance.now() + WORK_MS
    while (performance.now() < until) {
      const one = queue.shift()
      if (one === undefined) return false
      take(one)
    }
    return !queue.isEmpty
  }
  const workLater = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      if (work()) workLater()
    }, REST_MS)
  }
  const follow = (side: Side, stream: Readable): Promise<void> => {
    let seen = 0
    let workedMs = 0
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      const began = performance.now()
      seen += chunk.length
      total += chunk.length
      if (total > maxTotalBytes) onTooMuch()
      if (!queue.isEmpty || sides[side].isFull) {
        for (const one of queue.push(side, chunk)) take(one)
        return workLater()
      }
      take({ side, chunk, gap: 0, isMuted: false })
      workedMs += performance.now() - began
      const isCrumb = sides[side].holds && chunk.length < SMALL_BYTES
      // What is full of secrets becomes so short that all of it is kept.
      const isMuchWork = seen > maxBytes && workedMs >= WORK_MS
      if (!isCrumb && !isMuchWork) return
      workedMs = 0
      stream.pause()
      setTimeout(() => stream.resume(), PAUSE_MS)
    })
    return new Promise((resolve) => {
      stream.once('close', async () => {
        while (work()) await setImmediate()
        sides[side].end()
        resolve()
      })
    })
  }
  const closed = Promise.all([follow(0, streams.stdout), follow(1, streams.stderr)])
  const [{ own: stdout }, { own: stderr }] = sides
  return {
    ...{ stdout, stderr, both },
    bytes: () => total,
    closed: closed.finally(() => clearTimeout(timer)),
  }
}

/** One stream of a command as masked text. */
class MaskedSide {
  readonly own: BoundedText
  readonly #both: BoundedText
  readonly #add: Add
  #decoder = new StringDecoder('utf8')
  #pieces = processMask.pieces()

  constructor(add: Add, maxBytes: number, both: BoundedText) {
    this.own = new BoundedText(maxBytes)
    this.#both = both
    this.#add = add
  }

  get holds(): boolean {
    return this.#pieces.holds
  }

  /** Whether what comes from now on may be dropped. */
  get isFull(): boolean {
    return this.own.isHeadFull && this.#both.isHeadFull
  }

  take({ chunk, gap, isMuted }: Waiting): void {
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
    this.#add(masked, this.#pieces.holds)
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
