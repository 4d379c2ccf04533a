import { spawn } from 'node:child_process'
import { Worker } from 'node:worker_threads'
import { Command } from 'commander'
import { err, ok, type Result } from 'neverthrow'
import type { Logger } from 'pino'
import { siblingModule } from '../../lib/paths.ts'
import { guardSecrets, processMask } from '../../masking/process-mask.ts'
import { allSettings, readSettings } from '../../server/read-settings.ts'
import { type Settings, secretsOf } from '../../server/settings.ts'
import type { About } from '../../server/start-server.ts'
import { io } from '../terminal/io.ts'
import { fail } from '../terminal/print.ts'
import { EXIT } from '../terminal/steps.ts'

/** If the server is not ready by then, it logs where it listens, milliseconds. */
const NOT_READY_MS = 1_000

const HELP = `
Settings (docs/reference.md describes each; flags win over variables):
  ${allSettings().flat().join('\n  ')}

Exit codes:
  0    a signal stopped it; while it still starts, the signal itself ends it
  1    it could not start, or could not stop in time
  ${EXIT.startAgain}   the event store came back with another log: start it again`

/** `retrai serve`: runs the server until SIGINT, SIGTERM or SIGHUP. */
export const serveCommand = (): Command => starting('serve', 'Start the server.', () => {})

/** `retrai up`: the same, and opens the console. */
export const upCommand = (): Command =>
  starting('up', 'Start the server, and open its console in a browser.', openInBrowser)

const starting = (name: string, description: string, whenReady: (url: string) => void): Command =>
  new Command(name)
    .description(description)
    .option('--host <address>', 'address to listen on (default 127.0.0.1)')
    .option('--port <number>', 'port to listen on, 0 for a free one (default 8000)')
    .option(
      '--data-dir <folder>',
      'folder of the log, the read model and the artifacts (default: one in ~/.local/share/retrai for this working folder)',
    )
    .option('--store <url>', 'esdb://… of an EventStoreDB (default: embedded, in the data folder)')
    .addHelpText('after', HELP)
    .action((flags: Record<string, string>) => serve(flags, whenReady))

/** A desktop opens an address with this. */
const OPENERS: Readonly<Record<string, string>> = { darwin: 'open', linux: 'xdg-open' }

/** Where there is no desktop, nothing opens: the address is in the terminal. */
function openInBrowser(url: string): void {
  const opener = OPENERS[process.platform]
  if (opener === undefined || !url.startsWith('http')) return
  const opening = spawn(opener, [url], { stdio: 'ignore', detached: true })
  opening.once('error', () => {}).unref()
}

async function serve(
  flags: Record<string, string>,
  whenReady: (url: string) => void,
): Promise<void> {
  const read = readSettings(flags, io().env)
  if (read.isErr()) {
    giveUp(read.error)
    return
  }
  // Loaded here, so --help is answered at once.
  const { createLog, isAtTerminal, readyLines, reporter } = await import('../terminal/log.ts')
  // A person at a terminal gets the reports, and log lines only about what is wrong, unless they choose a level.
  const isQuiet = isAtTerminal() && !io().env.RETRAI_LOG_LEVEL?.trim()
  const settings = isQuiet ? { ...read.value, RETRAI_LOG_LEVEL: 'warn' as const } : read.value
  guardSecrets(secretsOf(settings))
  const log = createLog(settings.RETRAI_LOG_LEVEL)
  const report = reporter(log)
  const thread = new ServerThread(settings, log)
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    // A terminal that is closed sends SIGHUP.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, resolve)
  })
  // Until it listens, nobody was promised anything, and it may wait for its store: the signal itself ends it.
  let stop = async (signal: NodeJS.Signals): Promise<unknown> => process.kill(process.pid, signal)
  void signalled.then((signal) => {
    const advice = 'Unfinished runs continue when you start the server again.'
    report(`${signal} received, stopping`, '', `${signal}: stopping. ${advice}`)
    return stop(signal)
  })
  const started = await thread.started
  if (started.isErr()) {
    giveUp(started.error)
    // The thread may not end by itself.
    process.exit()
  }
  stop = () => thread.stop(EXIT.done)
  const { url, about } = started.value
  const late = setTimeout(() => {
    const logged = `retrai listens at ${url}, and is not ready yet: see /health/ready`
    report(logged, `retrAI listens at ${url}, and is still starting …`)
  }, NOT_READY_MS)
  void signalled.then(() => clearTimeout(late))
  await thread.ready
  clearTimeout(late)
  report(`retrai is ready at ${url}`, ...readyLines(url, about, settings))
  whenReady(url)
}

function giveUp(why: string): void {
  fail(...processMask.text(why).split('\n'))
  io().exitCode = EXIT.failed
}

export type ThreadData = {
  readonly settings: Settings
  /** How often the thread adds one to `beats`, milliseconds, while its event loop turns. */
  readonly beatMs: number
  readonly beats: Int32Array<SharedArrayBuffer>
}
export type FromThread =
  /** A server that listens: its address, and what it reports of itself. */
  | ({ readonly type: 'listening' } & Started)
  /** The store answers, and the read model is up to date. */
  | { readonly type: 'ready' }
  /** The text is for people. */
  | { readonly type: 'failed'; readonly message: string }
  /** All that it holds in memory may be wrong. */
  | { readonly type: 'log_replaced' }
  | { readonly type: 'stopped' }
type Started = { readonly url: string; readonly about: About }

const BEAT_MS = 250
/** A server is stuck when its event loop has not turned for this long. */
const STUCK_MS = 5_000
/** A thread that is silent for longer may never end by itself. */
const SILENT_MS = 1_000
/** How long a stop may take. After that, the process ends. What is not stored by then was not acknowledged. */
const STOP_WITHIN_MS = 4_500
/** How much longer it may take to show the last checkpoint to witnesses. */
const LAST_OFFER_MS = 15_000

/**
 * How much memory the server's newest objects may take. By default, a burst of work leaves the process 128 MiB larger until
 * the next burst, and each collection of that much stops the server for longer.
 */
const MAX_YOUNG_MB = 48

/**
 * A server in a thread of its own. The calling thread watches it, and ends the process if the server is wrong, or cannot
 * stop.
 */
class ServerThread {
  /** The error is a text for people: why the server cannot start. */
  readonly started: Promise<Result<Started, string>>
  /** Resolves once the server is ready for requests. */
  readonly ready: Promise<unknown>
  readonly #log: Logger
  readonly #stopWithinMs: number
  readonly #worker: Worker
  readonly #beats = new Int32Array(new SharedArrayBuffer(4))
  #seen = 0
  #silentMs = 0
  #lookedAt = performance.now()

  constructor(settings: Settings, log: Logger) {
    this.#log = log
    const isWitnessed = settings.RETRAI_WITNESSES !== undefined
    this.#stopWithinMs = STOP_WITHIN_MS + (isWitnessed ? LAST_OFFER_MS : 0)
    const workerData: ThreadData = { settings, beatMs: BEAT_MS, beats: this.#beats }
    this.#worker = new Worker(siblingModule('serve-thread', import.meta.url), {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: MAX_YOUNG_MB },
    }).once('error', (error) => {
      log.fatal({ err: error }, 'the server failed')
      process.exit(EXIT.failed)
    })
    this.started = Promise.race([
      this.#report('listening').then(({ url, about }) => ok({ url, about })),
      this.#report('failed').then(({ message }) => err(message)),
    ])
    this.ready = this.#report('ready')
    void this.#report('log_replaced').then(() => this.stop(EXIT.startAgain))
    setInterval(() => this.#look(), BEAT_MS).unref()
  }

  /** Ends sockets, requests and running work; then the process, when everything is stored or the time is over. */
  async stop(exitCode: number): Promise<never> {
    setTimeout(() => this.#end(), this.#stopWithinMs).unref()
    this.#worker.postMessage('stop')
    await this.#report('stopped')
    process.exit(exitCode)
  }

  /** Ends the process, whatever the thread does; by SIGKILL if the event loop of the thread is stuck. */
  #end(): void {
    if (this.#silentMs < SILENT_MS) {
      this.#log.error(
        {},
        'the server has not stopped in time, so its process ends: its runs continue at the next start',
      )
      process.exit(EXIT.failed)
    }
    this.#log.fatal(
      { stuck_ms: Math.round(this.#silentMs) },
      'the server is stuck and cannot stop: the process ends as by kill -9, its runs continue at the next start',
    )
    // exit() would wait for the thread, which may never return from native code.
    process.kill(process.pid, 'SIGKILL')
  }

  #report<T extends FromThread['type']>(type: T) {
    return new Promise<Extract<FromThread, { readonly type: T }>>((resolve) => {
      this.#worker.on('message', (message) => {
        if (message.type === type) resolve(message)
      })
    })
  }

  /**
   * Looks whether the thread has beaten since its first beat. Only time in which this thread runs counts, so after a suspension
   * of the whole process no server seems stuck.
   */
  #look(): void {
    const now = performance.now()
    const passed = Math.min(now - this.#lookedAt, 2 * BEAT_MS)
    this.#lookedAt = now
    const beats = Atomics.load(this.#beats, 0)
    const before = this.#silentMs
    this.#silentMs = beats === this.#seen && beats > 0 ? before + passed : 0
    this.#seen = beats
    if (before < STUCK_MS && this.#silentMs >= STUCK_MS) {
      this.#log.error(
        { stuck_ms: STUCK_MS },
        'the server is stuck: its event loop does not turn. SIGTERM ends it, and its runs continue at the next start',
      )
    }
    if (before >= STUCK_MS && this.#silentMs === 0) {
      this.#log.warn({ stuck_ms: Math.round(before) }, 'the server is no longer stuck')
    }
  }
}
