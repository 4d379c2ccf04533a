import { Session } from 'node:inspector'
import * as z from 'zod'

/** How often the watchdog checks the heartbeats. */
const LOOK_MS = 250
/** A thread is stuck when its event loop has not turned for this long. */
export const STUCK_MS = 5_000

/** The number of beats of a thread, in memory that it shares with its watchdog. */
export type Beats = Int32Array<SharedArrayBuffer>
export const newBeats = (): Beats => new Int32Array(new SharedArrayBuffer(4))

/** Beats from the event loop of the calling thread while that turns. Keeps no thread alive. */
export function startBeating(beats: Beats): void {
  setInterval(() => Atomics.add(beats, 0, 1), LOOK_MS).unref()
}

/**
 * Watches another thread by its heartbeats. Only time in which the watchdog's own thread runs counts, so after a
 * suspension of the whole process no thread seems stuck.
 */
export class Watchdog {
  readonly #beats: Beats
  readonly #on: { readonly stuck: () => void; readonly turning: (afterMs: number) => void }
  readonly #timer: NodeJS.Timeout
  #seen: number
  #lookedAt = performance.now()
  #silentMs = 0

  /** @param on `stuck` is called once for each silence that lasts STUCK_MS, `turning` when it is over */
  constructor(
    beats: Beats,
    on: { readonly stuck: () => void; readonly turning: (afterMs: number) => void },
  ) {
    this.#beats = beats
    this.#on = on
    this.#seen = Atomics.load(beats, 0)
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
  }

  /** How long the thread has been silent, milliseconds. */
  get silentMs(): number {
    return this.#silentMs
  }

  get stuck(): boolean {
    return this.#silentMs >= STUCK_MS
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const now = performance.now()
    const passed = Math.min(now - this.#lookedAt, 2 * LOOK_MS)
    this.#lookedAt = now
    const before = this.#silentMs
    const beats = Atomics.load(this.#beats, 0)
    if (beats === this.#seen) {
      this.#silentMs += passed
      if (this.stuck && before < STUCK_MS) this.#on.stuck()
      return
    }
    this.#seen = beats
    this.#silentMs = 0
    if (before >= STUCK_MS) this.#on.turning(before)
  }
}

const REQUESTS = [
  'Debugger.enable',
  'Debugger.pause',
  'Debugger.resume',
  'Debugger.disable',
] as const
type Request = (typeof REQUESTS)[number]
const LAST_ID = REQUESTS.indexOf('Debugger.disable')

const Paused = z.object({
  method: z.literal('Debugger.paused'),
  params: z.object({
    callFrames: z.array(
      z.object({
        functionName: z.string(),
        location: z.object({
          scriptId: z.string(),
          lineNumber: z.int(),
          columnNumber: z.int().default(0),
        }),
      }),
    ),
  }),
})
const Parsed = z.object({
  method: z.literal('Debugger.scriptParsed'),
  params: z.object({ scriptId: z.string(), url: z.string() }),
})
/** The response to the last request. */
const Done = z.object({ id: z.literal(LAST_ID) })
const Message = z.union([Paused, Parsed, Done])

type Frames = z.infer<typeof Paused>['params']['callFrames']

/**
 * The stack of a thread of this process, innermost call first, one per line. The thread is paused for a moment, even in
 * the middle of a loop. Null if it does not pause in time: it is in native code then, such as a read that hangs.
 * @param script URL of the main module of the thread
 */
export function stackOfThread(script: string, withinMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    // If the thread pauses only later, this session is still there and resumes it.
    const timer = setTimeout(resolve, withinMs, null).unref()
    const session = new Session()
    const urls = new Map<string, string>()
    const send = (sessionId: string, methods: readonly Request[]): void => {
      for (const method of methods) {
        const message = JSON.stringify({ id: REQUESTS.indexOf(method), method, params: {} })
        session.post('NodeWorker.sendMessageToWorker', { sessionId, message })
      }
    }
    session.connect()
    session.on('NodeWorker.attachedToWorker', ({ params: { sessionId, workerInfo } }) => {
      if (workerInfo.url === script) send(sessionId, ['Debugger.enable', 'Debugger.pause'])
    })
    session.on('NodeWorker.receivedMessageFromWorker', ({ params: { sessionId, message } }) => {
      const parsed = Message.safeParse(JSON.parse(message))
      if (!parsed.success) return
      if ('id' in parsed.data) {
        session.disconnect()
        return
      }
      const { method, params } = parsed.data
      if (method === 'Debugger.scriptParsed') {
        urls.set(params.scriptId, params.url)
        return
      }
      send(sessionId, ['Debugger.resume', 'Debugger.disable'])
      clearTimeout(timer)
      resolve(written(params.callFrames, urls))
    })
    session.post('NodeWorker.enable', { waitForDebuggerOnStart: false })
  })
}

function written(frames: Frames, urls: ReadonlyMap<string, string>): string {
  const lines = frames.map(({ functionName, location }) => {
    const { scriptId, lineNumber, columnNumber } = location
    const place = `${urls.get(scriptId) ?? 'unknown'}:${lineNumber + 1}:${columnNumber + 1}`
    return `    at ${functionName === '' ? '<anonymous>' : functionName} (${place})`
  })
  return lines.join('\n')
}
