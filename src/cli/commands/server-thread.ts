import { Worker } from 'node:worker_threads'
import { err, ok, type Result } from 'neverthrow'
import type { Logger } from 'pino'
import type { Problem } from '../../api/problems.ts'
import { siblingModule } from '../../lib/package-files.ts'
import type { Restart } from '../../server/create-app.ts'
import type { Settings } from '../../server/settings.ts'
import type { About } from '../../server/start-server.ts'
import { type Beats, newBeats, STUCK_MS, stackOfThread, Watchdog } from '../../server/watchdog.ts'

export type ThreadData = {
  readonly beats: Beats
  /** Why the thread before it was stopped. */
  readonly restarted: Restart | null
}
export type ToThread =
  | { readonly type: 'serve'; readonly settings: Settings }
  | { readonly type: 'stop' }
export type FromThread =
  /** The event loop runs from now on. */
  | { readonly type: 'beating' }
  /** The process that runs commands is started: from now on, settings and keys may be read. */
  | { readonly type: 'prepared' }
  | ({ readonly type: 'listening' } & Started)
  /** The store answers, and the read model is up to date. */
  | { readonly type: 'ready' }
  /** The text is for people. */
  | { readonly type: 'failed'; readonly message: string }
  /** All that it holds in memory may be wrong: it must be stopped and started again. */
  | { readonly type: 'restart'; readonly reason: string }
  | { readonly type: 'stopped' }

/** A server that listens: its address, and what it reports of itself. */
export type Started = { readonly url: string; readonly about: About }

/**
 * How much memory the server's newest objects may take. By default, a burst of work leaves the process 128 MiB larger until
 * the next burst, and each collection of that much stops the server for longer.
 */
const MAX_YOUNG_MB = 48

const SCRIPT = siblingModule('serve-thread', import.meta.url)
/** A thread in JavaScript shows its stack within milliseconds, but a busy machine needs longer. */
const STACK_WITHIN_MS = 15_000
/** A thread that is silent for longer may never end by itself, milliseconds. */
const SILENT_MS = 1_000

/** The server in a thread of its own. The calling thread watches it. */
export class ServerThread {
  /** The error is a text for people: why the server cannot start. */
  readonly started: Promise<Result<Started, string>>
  /** Resolves once the server is ready for requests. */
  readonly ready: Promise<void>
  /** Resolves when settings and keys may be read. */
  readonly prepared: Promise<void>
  #log: Logger
  #settings: Settings | null = null
  #running: Running
  #isStopping = false

  /** @param log until it serves */
  constructor(log: Logger) {
    this.#log = log
    this.#running = this.#run(null)
    this.started = this.#running.started
    this.ready = this.#running.ready
    this.prepared = this.#running.prepared
  }

  serve(settings: Settings, log: Logger): void {
    this.#settings = settings
    this.#log = log
    send(this.#running, { type: 'serve', settings })
  }

  /** Why the server does not work; null if it works. */
  problem(): Problem | null {
    const { watchdog } = this.#running
    if (!watchdog?.stuck) return null
    const seconds = Math.floor(watchdog.silentMs / 1000)
    const detail = `The server has been stuck for ${seconds} seconds. Its log shows where; restart it.`
    return { code: 'stuck', detail }
  }

  /** Ends sockets, requests and running work. Resolves when everything is stored. */
  stop(): Promise<void> {
    this.#isStopping = true
    return stopThread(this.#running)
  }

  /** Ends the thread of a server that could not start. */
  async terminate(): Promise<void> {
    this.#running.watchdog?.stop()
    await this.#running.worker.terminate()
  }

  /** Ends the whole process, whatever the thread does; by SIGKILL if the event loop of the thread is stuck. */
  endProcess(): void {
    const silentMs = this.#running.watchdog?.silentMs ?? 0
    if (silentMs < SILENT_MS) {
      this.#log.error(
        {},
        'the server has not stopped in time, so its process ends: its runs continue at the next start',
      )
      process.exit(1)
    }
    this.#log.fatal(
      { stuck_ms: Math.round(silentMs) },
      'the server is stuck and cannot stop: the process ends as by kill -9, its runs continue at the next start',
    )
    // exit() would wait for the thread, which may never return from native code.
    process.kill(process.pid, 'SIGKILL')
  }

  #run(restarted: Restart | null): Running {
    const beats = newBeats()
    const workerData: ThreadData = { beats, restarted }
    const worker = new Worker(SCRIPT, {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: MAX_YOUNG_MB },
    })
    const started = Promise.withResolvers<Result<Started, string>>()
    const prepared = Promise.withResolvers<void>()
    const ready = Promise.withResolvers<void>()
    const stopped = Promise.withResolvers<void>()
    const running: Running = {
      ...{ worker, prepared: prepared.promise, started: started.promise },
      ...{ ready: ready.promise, stopped: stopped.promise },
      watchdog: null,
    }
    worker.on('message', (message: FromThread) => {
      switch (message.type) {
        case 'beating':
          running.watchdog = this.#watch(beats)
          break
        case 'prepared':
          prepared.resolve()
          break
        case 'listening':
          started.resolve(ok({ url: message.url, about: message.about }))
          break
        case 'ready':
          ready.resolve()
          break
        case 'failed':
          started.resolve(err(message.message))
          break
        case 'restart':
          void this.#restart(message.reason)
          break
        case 'stopped':
          stopped.resolve()
          break
      }
    })
    worker.once('error', (error) => {
      this.#log.fatal({ err: error }, 'the server failed')
      process.exit(1)
    })
    return running
  }

  /** Starts a new thread in the place of this one, at the same address. */
  async #restart(reason: string): Promise<void> {
    if (this.#isStopping) return
    const at = new Date()
    const before = this.#running
    const listened = await before.started
    await stopThread(before)
    before.watchdog?.stop()
    await before.worker.terminate()
    if (this.#isStopping) return
    if (this.#settings === null) throw new Error('a server without settings cannot be restarted')
    const { RETRAI_LISTEN: wanted } = this.#settings
    const port = listened.map(({ url }) => Number(new URL(url).port)).unwrapOr(null)
    const address = 'socket' in wanted || port === null ? wanted : { ...wanted, port }
    this.#running = this.#run({ at, reason })
    this.serve({ ...this.#settings, RETRAI_LISTEN: address }, this.#log)
    const started = await this.#running.started
    if (started.isErr()) {
      this.#log.fatal({ reason: started.error }, 'the server cannot start again')
      process.exit(1)
    }
    await this.#running.ready
    this.#log.info(`retrai is ready again at ${started.value.url}`)
  }

  #watch(beats: Beats): Watchdog {
    const log = this.#log
    return new Watchdog(beats, {
      stuck: async () => {
        log.error({ stuck_ms: STUCK_MS }, 'the server is stuck: its event loop does not turn')
        const stack = await stackOfThread(SCRIPT.href, STACK_WITHIN_MS)
        if (stack === null) log.error({}, 'no stack of the stuck server: it is in native code')
        else log.error({ stack }, 'where the server is stuck')
      },
      turning: (afterMs) => {
        log.warn({ stuck_ms: Math.round(afterMs) }, 'the server is no longer stuck')
      },
    })
  }
}

/** One thread, from its start to its end. */
type Running = {
  readonly worker: Worker
  readonly prepared: Promise<void>
  readonly started: Promise<Result<Started, string>>
  readonly ready: Promise<void>
  readonly stopped: Promise<void>
  /** Null until its event loop turns. */
  watchdog: Watchdog | null
}

const send = ({ worker }: Running, message: ToThread): void => worker.postMessage(message)

function stopThread(running: Running): Promise<void> {
  send(running, { type: 'stop' })
  return running.stopped
}
