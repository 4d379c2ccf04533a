import { Readable, Writable } from 'node:stream'
import type { Notice } from '../domain/records.ts'
import {
  type CallEnd,
  FRAME,
  frame,
  frameHeader,
  type OutputPiece,
  RETURNED_BYTES,
  type Stream,
  WINDOW_BYTES,
  windowFrame,
} from './protocol.ts'

/** The runner died during the command, so it is not known what the command did. */
export type Lost = { readonly end: 'lost' }

type Output = Exclude<Stream, 'stdin'>

/** The server's end of a command: its streams, with a window for each. */
export class Call {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly ended: Promise<CallEnd | Lost>
  readonly onNotice: (notice: Notice) => void
  readonly #id: number
  readonly #send: (bytes: Buffer) => void
  readonly #end: (end: CallEnd | Lost) => void
  /** Bytes that were received and not yet returned to the window. */
  readonly #received = { stdout: 0, stderr: 0 }
  /** Bytes that were dropped before the next piece. */
  readonly #gaps = { stdout: 0, stderr: 0 }
  /** Bytes of input that the runner takes now. */
  #room = WINDOW_BYTES
  /** The rest of the input, for which there was no room. */
  #waiting: { readonly rest: Buffer; readonly done: (error?: Error) => void } | null = null

  /** @param send sends frames to the runner, if the call has not ended */
  constructor(id: number, send: (bytes: Buffer) => void, onNotice: (notice: Notice) => void) {
    this.#id = id
    this.#send = send
    this.onNotice = onNotice
    const { promise, resolve } = Promise.withResolvers<CallEnd | Lost>()
    this.ended = promise
    this.#end = resolve
    this.stdin = new Writable({
      write: (chunk: Buffer, _, done) => this.#write(chunk, done),
      final: (done) => {
        send(frame(FRAME.inputEnd, id, ''))
        done()
      },
    }).on('error', () => {})
    this.stdout = this.#readable('stdout')
    this.stderr = this.#readable('stderr')
  }

  push(stream: Output, chunk: Buffer, isMuted = false): void {
    this.#received[stream] += chunk.length
    const piece: OutputPiece = { chunk, gap: this.#gaps[stream], isMuted }
    this.#gaps[stream] = 0
    this[stream].push(piece)
  }

  drop(stream: Output, bytes: number): void {
    this.#gaps[stream] += bytes
  }

  /** The runner takes more input. */
  widen(bytes: number): void {
    this.#room += bytes
    const waiting = this.#waiting
    this.#waiting = null
    if (waiting !== null) this.#write(waiting.rest, waiting.done)
  }

  /** Nothing reads the input any more. */
  refuseInput(): void {
    const error = new Error('The process reads no more input')
    this.#waiting?.done(error)
    this.stdin.destroy(error)
  }

  end(end: CallEnd | Lost): void {
    this.#waiting?.done(new Error('The process has ended'))
    this.stdin.destroy()
    this.stdout.push(null)
    this.stderr.push(null)
    this.#end(end)
  }

  #write(chunk: Buffer, done: (error?: Error) => void): void {
    const sent = chunk.subarray(0, this.#room)
    if (sent.length > 0) {
      this.#room -= sent.length
      this.#send(frameHeader(FRAME.stdin, this.#id, sent.length))
      this.#send(sent)
    }
    if (sent.length === chunk.length) done()
    else this.#waiting = { rest: chunk.subarray(sent.length), done }
  }

  #readable(stream: Output): Readable {
    return new Readable({
      objectMode: true,
      highWaterMark: 1,
      read: () => {
        const bytes = this.#received[stream]
        if (bytes < RETURNED_BYTES) return
        this.#received[stream] = 0
        this.#send(windowFrame(this.#id, stream, bytes))
      },
    })
  }
}
