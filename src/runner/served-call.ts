import { PassThrough, pipeline, type Readable, type Writable } from 'node:stream'
import { reach } from './crash-moments.ts'
import { OutputQueue, type Side, type Waiting } from './output-queue.ts'
import { runProcess } from './process.ts'
import {
  type CallEnd,
  FRAME,
  frame,
  frameHeader,
  gapFrame,
  RETURNED_BYTES,
  type StartRequest,
  type StopCause,
  WINDOW_BYTES,
  windowFrame,
} from './protocol.ts'

const STREAMS = [FRAME.stdout, FRAME.stderr] as const
const MUTED = [FRAME.mutedStdout, FRAME.mutedStderr] as const
/** How much of a flood is sent for observers while it lasts. */
const FLOOD_BYTES = 128 * 1024
const FLOOD_PAUSE_MS = 40
/** How much of the beginning of the output waits here for the server, so that masking it delays the command less. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024

/** The runner's end of a command: its streams, with a window for each. */
export class ServedCall {
  readonly #server: Writable
  readonly #id: number
  readonly #queue: OutputQueue
  readonly #sides: readonly { room: number; source: Readable | null }[]
  readonly #stopped = Promise.withResolvers<StopCause>()
  readonly #notRun = Promise.withResolvers<CallEnd>()
  #stop: StopCause | null = null
  #hasBegun = false
  /** Keeps what comes before the process is started, and what it has not read; null if it has no input. */
  readonly #input: PassThrough | null
  #consumed = 0
  /** What must be sent and comes before the queue, but for which the server has no room yet. */
  readonly #backlog: Waiting[] = []
  #backlogBytes = 0
  /** 0 if nothing may be dropped: then a command whose output nobody reads waits. */
  readonly #backlogLimit: number
  #timer: ReturnType<typeof setTimeout> | null = null

  /** @param server takes what is for the server */
  constructor(id: number, { keptBytes, hasInput = false }: StartRequest, server: Writable) {
    this.#id = id
    this.#server = server
    this.#input = hasInput ? new PassThrough().on('error', () => {}) : null
    const half = Math.ceil(keptBytes / 2)
    this.#queue = new OutputQueue(half)
    this.#backlogLimit = half > MAX_BACKLOG_BYTES ? 0 : half
    this.#sides = STREAMS.map(() => ({ room: WINDOW_BYTES, source: null }))
  }

  /**
   * Its end. If the server stops it before it runs, that is at once, and it never runs: its mounts and its network may
   * take seconds.
   * @param end what makes these and calls `run`
   */
  unlessStopped(end: Promise<CallEnd>): Promise<CallEnd> {
    return Promise.race([end, this.#notRun.promise])
  }

  async run(request: StartRequest): Promise<CallEnd> {
    if (this.#stop !== null) return { end: this.#stop }
    this.#hasBegun = true
    reach('before spawn')
    const end = await runProcess(request, {
      stopped: this.#stopped.promise,
      onStarted: ({ stdin, stdout, stderr }) => {
        reach('after spawn')
        if (stdin !== null && this.#input !== null) {
          pipeline(this.#input, stdin, (failed) => {
            if (failed) this.#server.write(frame(FRAME.inputEnd, this.#id, ''))
          })
        }
        this.#connect(0, stdout)
        this.#connect(1, stderr)
      },
      onDead: () => {
        for (const stream of STREAMS) this.widen(stream, Number.MAX_SAFE_INTEGER)
      },
    })
    if (this.#timer !== null) clearTimeout(this.#timer)
    for (const one of this.#backlog.splice(0)) this.#send(one)
    for (let one = this.#queue.shift(); one !== undefined; one = this.#queue.shift())
      this.#send(one)
    return end
  }

  takeInput(chunk: Buffer): void {
    this.#input?.write(chunk, () => {
      this.#consumed += chunk.length
      if (this.#consumed < RETURNED_BYTES) return
      this.#server.write(windowFrame(this.#id, 'stdin', this.#consumed))
      this.#consumed = 0
    })
  }

  endInput(): void {
    this.#input?.end()
  }

  stop(cause: StopCause): void {
    this.#stop ??= cause
    this.#stopped.resolve(cause)
    if (!this.#hasBegun) this.#notRun.resolve({ end: cause })
  }

  widen(stream: number, bytes: number): void {
    const side = this.#sides[stream === FRAME.stdout ? 0 : 1]
    if (side === undefined) return
    side.room += bytes
    this.#sendBacklog()
    if (side.room > 0 || this.#backlogBytes < this.#backlogLimit) side.source?.resume()
  }

  #connect(side: Side, source: Readable): void {
    const own = this.#sides[side]
    if (own === undefined) return
    own.source = source
    source.on('data', (chunk: Buffer) => {
      reach('during output')
      const sent = this.#queue.push(side, chunk)
      for (const one of sent) {
        this.#backlog.push(one)
        this.#backlogBytes += one.chunk.length
      }
      this.#sendBacklog()
      if (!this.#queue.isEmpty) this.#timer ??= setTimeout(() => this.#sendSome(), FLOOD_PAUSE_MS)
      // What is dropped waits for nobody.
      const isFull = this.#backlogBytes >= this.#backlogLimit
      if (sent.length > 0 && own.room <= 0 && isFull) source.pause()
    })
  }

  /** Sends what must be sent, in its order, if the server has room for it or nothing may wait here. */
  #sendBacklog(): void {
    let sent = 0
    for (const one of this.#backlog) {
      if (this.#backlogLimit > 0 && (this.#sides[one.side]?.room ?? 0) <= 0) break
      this.#send(one)
      this.#backlogBytes -= one.chunk.length
      sent += 1
    }
    this.#backlog.splice(0, sent)
  }

  /** Sends a part of what waits, if the server has room for it. */
  #sendSome(): void {
    this.#timer = null
    let left = FLOOD_BYTES
    while (left > 0 && this.#backlog.length === 0 && this.#sides.every(({ room }) => room > 0)) {
      const one = this.#queue.shift()
      if (one === undefined) return
      this.#send(one)
      left -= one.chunk.length
    }
    this.#timer = setTimeout(() => this.#sendSome(), FLOOD_PAUSE_MS)
  }

  #send({ side, chunk, gap, isMuted }: Waiting): void {
    const own = this.#sides[side]
    if (own !== undefined) own.room -= chunk.length
    this.#server.cork()
    if (gap > 0) this.#server.write(gapFrame(this.#id, STREAMS[side], gap))
    this.#server.write(frameHeader((isMuted ? MUTED : STREAMS)[side], this.#id, chunk.length))
    this.#server.write(chunk)
    this.#server.uncork()
  }
}
