import { Socket } from 'node:net'
import { PassThrough, pipeline, type Readable } from 'node:stream'
import type { Notice } from '../domain/records.ts'
import { forgetRun } from './contained-process.ts'
import { armCrash, reach } from './crash-moments.ts'
import { closeInherited, giveWay } from './helper-process.ts'
import { GuardedFiles } from './isolation/guarded-files.ts'
import { OwnUserProjects } from './isolation/own-user.ts'
import { killLeftContainers } from './left-containers.ts'
import { Networks } from './network/networks.ts'
import { OutputQueue, type Side, type Waiting } from './output-queue.ts'
import { runProcess, whyNotStarted } from './process.ts'
import {
  type CallEnd,
  FRAME,
  type Frame,
  FrameReader,
  frame,
  frameHeader,
  gapFrame,
  RETURNED_BYTES,
  type StartRequest,
  type StopCause,
  WINDOW_BYTES,
  windowFrame,
} from './protocol.ts'

/**
 * The runner: a process of its own that starts all commands, so that the server forks for none. It has no secrets: its
 * environment is empty, and it reads no settings. It ends with its pipe, and its commands with it.
 */
closeInherited()
giveWay()
void killLeftContainers()
const server = new Socket({ fd: 3, readable: true, writable: true })
const calls = new Map<number, Call>()
const networks = new Networks()
const ownUserProjects = new OwnUserProjects()

const STREAMS = [FRAME.stdout, FRAME.stderr] as const
const MUTED = [FRAME.mutedStdout, FRAME.mutedStderr] as const
/** How much of a flood is sent for observers while it lasts. */
const FLOOD_BYTES = 128 * 1024
const FLOOD_PAUSE_MS = 40
/** How much of the beginning of the output waits here for the server, so that masking it delays the command less. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024

class Call {
  readonly #id: number
  readonly #queue: OutputQueue
  readonly #sides: readonly { room: number; source: Readable | null }[]
  readonly #stopped = Promise.withResolvers<StopCause>()
  /** Keeps what comes before the process is started, and what it has not read; null if it has no input. */
  readonly #input: PassThrough | null
  #consumed = 0
  /** What must be sent and comes before the queue, but for which the server has no room yet. */
  readonly #backlog: Waiting[] = []
  #backlogBytes = 0
  /** 0 if nothing may be dropped: then a command whose output nobody reads waits. */
  readonly #backlogLimit: number
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor(id: number, { keptBytes, hasInput = false }: StartRequest) {
    this.#id = id
    this.#input = hasInput ? new PassThrough().on('error', () => {}) : null
    const half = Math.ceil(keptBytes / 2)
    this.#queue = new OutputQueue(half)
    this.#backlogLimit = half > MAX_BACKLOG_BYTES ? 0 : half
    this.#sides = STREAMS.map(() => ({ room: WINDOW_BYTES, source: null }))
  }

  async run(request: StartRequest): Promise<CallEnd> {
    reach('before spawn')
    const end = await runProcess(request, {
      stopped: this.#stopped.promise,
      onStarted: ({ stdin, stdout, stderr }) => {
        reach('after spawn')
        if (stdin !== null && this.#input !== null) {
          pipeline(this.#input, stdin, (failed) => {
            if (failed) server.write(frame(FRAME.inputEnd, this.#id, ''))
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
      server.write(windowFrame(this.#id, 'stdin', this.#consumed))
      this.#consumed = 0
    })
  }

  endInput(): void {
    this.#input?.end()
  }

  stop(cause: StopCause): void {
    this.#stopped.resolve(cause)
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
    server.cork()
    if (gap > 0) server.write(gapFrame(this.#id, STREAMS[side], gap))
    server.write(frameHeader((isMuted ? MUTED : STREAMS)[side], this.#id, chunk.length))
    server.write(chunk)
    server.uncork()
  }
}

function take({ type, call: id, payload }: Frame): void {
  switch (type) {
    case FRAME.start:
      void start(id, JSON.parse(payload.toString()))
      break
    case FRAME.stop:
      calls.get(id)?.stop(payload.toString() as StopCause)
      break
    case FRAME.stdin:
      calls.get(id)?.takeInput(payload)
      break
    case FRAME.inputEnd:
      calls.get(id)?.endInput()
      break
    case FRAME.window:
      calls.get(id)?.widen(payload.readUInt8(0), payload.readUInt32BE(1))
      break
    case FRAME.ping:
      server.write(frame(FRAME.ping, id, ''))
      break
    case FRAME.forget:
      forgetRun(payload.toString())
      break
    case FRAME.crash:
      armCrash(JSON.parse(payload.toString()))
      break
  }
}

async function start(id: number, request: StartRequest): Promise<void> {
  const call = new Call(id, request)
  calls.set(id, call)
  const note = (notice: Notice): void => {
    server.write(frame(FRAME.notice, id, JSON.stringify(notice)))
  }
  const end = await guarding(request, note, () =>
    withNamespaces(request, note, (prepared) => call.run(prepared)),
  )
  reach('before its end')
  calls.delete(id)
  server.write(frame(FRAME.end, id, JSON.stringify(end)))
}

/** Notes what of the guarded files changes while a command runs. Never rejects. */
async function guarding(
  request: StartRequest,
  note: (notice: Notice) => void,
  run: () => Promise<CallEnd>,
): Promise<CallEnd> {
  try {
    const guarded = new GuardedFiles(request.project)
    const end = await run().catch((cause) => whyNotStarted(request, cause))
    for (const payload of await guarded.changes()) note({ kind: 'guard_changed', payload })
    return end
  } catch (cause) {
    return whyNotStarted(request, cause)
  }
}

/** Runs a command in the namespaces that are made for it outside of its container. */
async function withNamespaces(
  request: StartRequest,
  note: (notice: Notice) => void,
  run: (request: StartRequest) => Promise<CallEnd>,
): Promise<CallEnd> {
  if (request.sandbox?.level !== 'namespaces') return run(request)
  return ownUserProjects.with(request.sandbox, (sandbox) =>
    networks.with({ ...request, sandbox }, note, run),
  )
}

/** The reaper ends what is left. */
const exit = (): never => process.exit()

const reader = new FrameReader()
server.on('data', (chunk: Buffer) => {
  for (const received of reader.read(chunk)) take(received)
})
server.on('error', exit)
server.on('close', exit)
