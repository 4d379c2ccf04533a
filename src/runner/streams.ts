import { Readable, Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import type { Notice } from '../domain/records.ts'
import { characterStart, nextCharacterStart } from '../lib/text.ts'
import { processMask } from '../masking/process-mask.ts'
import {
  type CallEnd,
  type FromRunner,
  INPUT_BYTES,
  type StopCause,
  type ToRunner,
} from './protocol.ts'

/** A command that the runner starts. */
export type RunningCall = {
  /** Its standard input, if it has one. It fails when nothing reads it any more. */
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** Resolves when no process of the command is alive. Never rejects. */
  readonly ended: Promise<CallEnd>
  stop(cause: StopCause): void
}

/** A call without a process. */
export function callThatEnded(ended: CallEnd | Promise<CallEnd>): RunningCall {
  const stdin = new Writable().on('error', () => {})
  stdin.destroy()
  const none = () => Readable.from([])
  return { stdin, stdout: none(), stderr: none(), ended: Promise.resolve(ended), stop: () => {} }
}

/** A command that prints more while nobody reads its output is stopped, bytes. */
const MOST_UNREAD_BYTES = 64 * 1024 * 1024

export type Send = (message: ToRunner, body?: Buffer) => void

/** The server's end of a command: its streams. */
export class Call implements RunningCall {
  readonly stdin: Writable
  readonly stdout = new Readable({ read: () => {} })
  readonly stderr = new Readable({ read: () => {} })
  readonly ended: Promise<CallEnd>
  readonly #id: number
  readonly #send: Send
  readonly #onNotice: (notice: Notice) => void
  readonly #end: (end: CallEnd) => void
  /** Called when the runner has passed on what was written last. */
  #written: ((error?: Error) => void) | null = null

  constructor(id: number, send: Send, onNotice: (notice: Notice) => void) {
    this.#id = id
    this.#send = send
    this.#onNotice = onNotice
    const { promise, resolve } = Promise.withResolvers<CallEnd>()
    this.ended = promise
    this.#end = resolve
    this.stdin = new Writable({
      write: (chunk: Buffer, _, done) => this.#write(chunk, done),
      final: (done) => {
        send({ type: 'input_end', call: id })
        done()
      },
    }).on('error', () => {})
  }

  stop(cause: StopCause): void {
    this.#send({ type: 'stop', call: this.#id, cause })
  }

  /** Takes what the runner says of this call. */
  take(message: FromRunner, body: Buffer): void {
    if (message.type === 'output') {
      const stream = this[message.output]
      stream.push(body)
      if (stream.readableLength > MOST_UNREAD_BYTES) this.stop('too_much_output')
    } else if (message.type === 'input_done') {
      const { isClosed } = message
      const error = isClosed ? new Error('The process reads no more input') : undefined
      this.#takeWritten()?.(error)
      if (isClosed) this.stdin.destroy(error)
    } else if (message.type === 'notice') this.#onNotice(message.notice)
    else if (message.type === 'end') this.end(message.end)
  }

  end(end: CallEnd): void {
    this.#takeWritten()?.(new Error('The process has ended'))
    this.stdin.destroy()
    this.stdout.push(null)
    this.stderr.push(null)
    this.#end(end)
  }

  #write(chunk: Buffer, done: (error?: Error) => void): void {
    const rest = chunk.subarray(INPUT_BYTES)
    this.#written = (error) => {
      if (error === undefined && rest.length > 0) this.#write(rest, done)
      else done(error)
    }
    this.#send({ type: 'input', call: this.#id }, chunk.subarray(0, INPUT_BYTES))
  }

  #takeWritten() {
    const written = this.#written
    this.#written = null
    return written
  }
}

/**
 * Text that is held back is checked again with each chunk, so chunks that are smaller than that text are first
 * collected for this time.
 */
const REST_MS = 2

/** What is done with the output while it comes. */
type Uses = {
  readonly maxTotalBytes: number
  readonly onTooMuch: () => void
  /** Called with each piece of both streams, masked and in order. */
  readonly onOutput?: (text: string) => void
}

/**
 * Reads both streams of a command to their end, keeping at most `maxBytes` of each. Secrets are masked before anything is
 * dropped: half of one is not recognized. `onTooMuch` is called once both together have more than `maxTotalBytes`.
 * @returns `both`: the streams in the order in which they came; what may begin a secret comes when that is decided, and a
 * character whose bytes came in two chunks stays whole. `closed` resolves when both streams are closed
 */
export function collectOutput(
  streams: { readonly stdout: Readable; readonly stderr: Readable },
  maxBytes: number,
  { maxTotalBytes, onTooMuch, onOutput = () => {} }: Uses,
) {
  const both = new BoundedText(maxBytes)
  let total = 0
  const follow = (stream: Readable): { own: BoundedText; closed: Promise<void> } => {
    const own = new BoundedText(maxBytes)
    const decoder = new StringDecoder('utf8')
    const masked = processMask.pieces()
    const show = (text: string): void => {
      if (text === '') return
      for (const kept of [own, both]) kept.add(text)
      onOutput(text)
    }
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      total += chunk.length
      show(masked.write(decoder.write(chunk)))
      if (total > maxTotalBytes) onTooMuch()
      if (chunk.length >= masked.heldChars) return
      stream.pause()
      setTimeout(() => stream.resume(), REST_MS)
    })
    const closed = new Promise<void>((resolve) => {
      stream.once('close', () => {
        show(masked.write(decoder.end()) + masked.end())
        resolve()
      })
    })
    return { own, closed }
  }
  const [out, err] = [follow(streams.stdout), follow(streams.stderr)]
  return {
    stdout: out.own,
    stderr: err.own,
    both,
    bytes: () => total,
    closed: Promise.all([out.closed, err.closed]),
  }
}

/** More pieces than this are joined, so that many small ones take little more memory than their text. */
const MAX_PIECES = 1_000

/**
 * Collects text and keeps at most `limit` bytes of it: the first half, and the latest. A long output costs little more
 * memory than its limit, and its end, where most summaries are, is kept.
 */
export class BoundedText {
  readonly #limit: number
  /** The beginning, when something was dropped after it. */
  #head: string | null = null
  #dropped = 0
  /** What comes after the head and after what was dropped. */
  #pieces: Buffer[] = []
  #bytes = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  add(text: string): void {
    const bytes = Buffer.from(text)
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
    if (this.#bytes > 2 * this.#limit || this.#pieces.length > MAX_PIECES) this.#join()
  }

  /** What is kept. If something was dropped, a line in its place has the number of bytes. */
  text(): string {
    const rest = this.#join().toString()
    if (this.#head === null) return rest
    return `${this.#head}\n[${this.#dropped} bytes of output are dropped here]\n${rest}`
  }

  /** Drops what is too much, in whole characters. */
  #join(): Buffer {
    let rest = Buffer.concat(this.#pieces)
    if (this.#head === null && rest.length > this.#limit) {
      const end = characterStart(rest, Math.ceil(this.#limit / 2))
      this.#head = rest.toString('utf8', 0, end)
      rest = rest.subarray(end)
    }
    if (this.#head !== null) {
      const most = Math.floor(this.#limit / 2)
      const start = nextCharacterStart(rest, Math.max(0, rest.length - most))
      this.#dropped += start
      rest = Buffer.from(rest.subarray(start))
    }
    this.#pieces = [rest]
    this.#bytes = rest.length
    return rest
  }
}
