import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import type { WebSocket } from '@fastify/websocket'
import { CLOSE_CODES } from '../../api/frames.ts'
import type { LiveLimits } from './deps.ts'
import { type EncodedFrame, type Frame, payloadOf } from './frame.ts'

/** How an observation ends. `last` is the last frame that the client gets, which reports why the server ends it. */
export type Ending =
  | { readonly type: 'complete'; readonly seq: number; readonly last: Buffer | null }
  | {
      readonly type: 'unknown_run' | 'removed_run' | 'bad_request' | 'damaged'
      readonly last: Buffer
    }

/**
 * Where an observer sends: a WebSocket, or an answer of server-sent events. It buffers a bounded amount for a slow client if
 * its user stops when it is `full` and continues when it is `drained`.
 */
export type Sink = {
  /** How many bytes wait to be sent. */
  readonly backlog: number
  readonly full: boolean
  /** Resolves when everything is sent, or the client has left. */
  drained(): Promise<void>
  /** Holds frames back until `uncork`, so that many of them are sent at once. Records and parts are sent between the two. */
  cork(): void
  uncork(): void
  sendRecord(frame: Frame): void
  sendPart(frame: EncodedFrame): void
  /** Sends a frame that is neither. */
  sendNotice(payload: Buffer): void
  /** Sends why it ends, if the client does not know that, and closes. */
  end(ending: Ending): Promise<void>
}

const TEXT = { binary: false } as const
/** Adjacent frames are written together, up to this many bytes. */
const SPAN_BYTES = 64 * 1024
/** A client is pinged after this many bytes, so it never has to read more than that in its time. */
const PING_EVERY_BYTES = 64 * 1024

/** The close frame of each ending. */
const CLOSES: Record<Ending['type'], readonly [code: number, reason: string]> = {
  complete: [CLOSE_CODES.run_ended, 'the run has ended'],
  unknown_run: [CLOSE_CODES.unknown_run, 'no such run'],
  removed_run: [CLOSE_CODES.unknown_run, 'the run was removed'],
  bad_request: [CLOSE_CODES.bad_request, 'bad request'],
  damaged: [CLOSE_CODES.internal_error, 'a record of this run cannot be read'],
}

/**
 * The sending side of one WebSocket. It pings its client at a fixed pace and, while much is sent, after a number of bytes.
 * The pings are between the frames of the stream, so an answer proves that everything before it has been read and is not
 * in a buffer of a kernel.
 */
export class SocketWriter implements Sink {
  readonly #socket: WebSocket
  readonly #connection: Socket
  readonly #limits: LiveLimits
  /** Frames that wait for the next adjacent ones, until `uncork`. */
  #span: { memory: Buffer; start: number; end: number } | null = null
  #waiting = 0
  readonly #drained: (() => void)[] = []
  readonly #onSent = (): void => {
    this.#waiting -= 1
    if (this.#waiting === 0) this.release()
  }
  #sinceLastPing = 0
  #pings = 0
  #pongs = 0
  /** Times of `performance.now`: the next ping at the fixed pace, and the end of the client's time. */
  #pingAt: number
  #stalledAt = Number.POSITIVE_INFINITY

  constructor(socket: WebSocket, connection: Socket, limits: LiveLimits) {
    this.#socket = socket
    this.#connection = connection
    this.#limits = limits
    this.#pingAt = performance.now() + limits.pingMs
    socket.on('pong', (data: Buffer) => this.#answered(Number(data)))
  }

  get full(): boolean {
    return this.backlog > this.#limits.socketBytes
  }

  get backlog(): number {
    return this.#socket.bufferedAmount
  }

  sendNotice(payload: Buffer): void {
    this.#flush()
    this.#socket.send(payload, TEXT, this.#writing())
    this.#sent(payload.length)
  }

  /** Sends an encoded frame, with its header, past the library: all sockets get the same bytes. */
  sendRecord({ memory, start, end }: EncodedFrame): void {
    const span = this.#span
    if (span?.memory === memory && span.end === start && end - span.start <= SPAN_BYTES) {
      span.end = end
      return
    }
    this.#flush()
    this.#span = { memory, start, end }
  }

  #flush(): void {
    const span = this.#span
    this.#span = null
    if (span === null || this.#socket.readyState !== this.#socket.OPEN) return
    this.#connection.write(span.memory.subarray(span.start, span.end), this.#writing())
    this.#sent(span.end - span.start)
  }

  sendPart(frame: EncodedFrame): void {
    this.sendRecord(frame)
  }

  drained(): Promise<void> {
    if (this.#waiting === 0 || this.#socket.readyState === this.#socket.CLOSED) {
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#drained.push(resolve))
  }

  cork(): void {
    this.#connection.cork()
  }

  uncork(): void {
    this.#flush()
    this.#connection.uncork()
  }

  async end({ type, last }: Ending): Promise<void> {
    if (last !== null) this.sendNotice(last)
    // `ws` terminates a closing socket after a while, so a slow client must have read everything first.
    await this.drained()
    this.#socket.close(...CLOSES[type])
  }

  /** To be called when the socket has closed, too: nobody waits for it any more. */
  release(): void {
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  /** Pings at the fixed pace. @returns whether no ping is answered within the time that a client has */
  isStalled(now: number): boolean {
    if (now >= this.#pingAt) {
      this.#pingAt += this.#limits.pingMs
      if (this.#pings === this.#pongs) this.#ping(now)
    }
    return now >= this.#stalledAt
  }

  /** A client may answer only the last of several pings, and may send pongs without a ping. */
  #answered(ping: number): void {
    if (!(ping > this.#pongs && ping <= this.#pings)) return
    this.#pongs = ping
    const isDone = ping === this.#pings
    this.#stalledAt = isDone ? Number.POSITIVE_INFINITY : performance.now() + this.#limits.stallMs
  }

  #ping(now: number): void {
    this.#sinceLastPing = 0
    // The client's time begins with the first ping that it has not answered.
    if (this.#pings === this.#pongs) this.#stalledAt = now + this.#limits.stallMs
    this.#pings += 1
    this.#socket.ping(String(this.#pings))
  }

  #sent(bytes: number): void {
    this.#sinceLastPing += bytes
    if (this.#sinceLastPing >= PING_EVERY_BYTES) this.#ping(performance.now())
  }

  #writing(): () => void {
    this.#waiting += 1
    return this.#onSent
  }
}

/** How much is buffered for a slow client of server-sent events. */
const BUFFER_BYTES = 256 * 1024
const END_OF_EVENT = Buffer.from('\n\n')

/** The server-sent events of one answer. */
export class EventStream implements Sink {
  readonly body = new PassThrough({ highWaterMark: BUFFER_BYTES })
  #pieces: Buffer[] = []
  #bytes = 0
  #isCorked = false
  #isQuiet = true
  #waiting: (() => void)[] = []

  constructor() {
    // How long a browser waits before it connects again, milliseconds.
    this.body.write('retry: 1000\n\n')
    const release = (): void => {
      for (const resolve of this.#waiting.splice(0)) resolve()
    }
    this.body.on('drain', release).on('close', release)
  }

  get full(): boolean {
    return this.body.writableNeedDrain
  }

  get backlog(): number {
    return this.full ? this.body.writableLength : 0
  }

  drained(): Promise<void> {
    if (!this.full || this.body.destroyed) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  cork(): void {
    this.#isCorked = true
  }

  uncork(): void {
    this.#isCorked = false
    this.#flush()
  }

  /** The event has no name, so that browsers pass it to `onmessage`. */
  sendRecord(frame: Frame): void {
    this.#add(`id: ${frame.place}\n`, payloadOf(frame))
  }

  /** Parts have no id, so a client that connects again resumes after the last record. */
  sendPart(frame: EncodedFrame): void {
    this.#add('event: part\n', payloadOf(frame))
  }

  sendNotice(payload: Buffer): void {
    this.#add('event: notice\n', payload)
  }

  /** A sign of life if nothing else was sent. The id moves the cursor of the client past records that it did not select. */
  beat(place: Frame['place'] | null): void {
    const id = place === null || place === -1 ? '' : `id: ${place}\n`
    if (this.#isQuiet) this.#pieces.push(Buffer.from(`:\n${id}\n`))
    this.#flush()
    this.#isQuiet = true
  }

  async end(ending: Ending): Promise<void> {
    if (ending.type === 'complete') {
      this.#add(`id: ${ending.seq}\nevent: end\n`, Buffer.from(`{"seq":${ending.seq}}`))
    } else {
      this.#add('event: failed\n', ending.last)
    }
    this.body.end()
  }

  #add(head: string, data: Buffer): void {
    this.#pieces.push(Buffer.from(`${head}data: `), data, END_OF_EVENT)
    this.#bytes += data.length
    if (!this.#isCorked || this.#bytes >= BUFFER_BYTES) this.#flush()
  }

  #flush(): void {
    if (this.#pieces.length === 0 || this.body.writableEnded) return
    this.body.write(Buffer.concat(this.#pieces))
    this.#pieces = []
    this.#bytes = 0
    this.#isQuiet = false
  }
}
