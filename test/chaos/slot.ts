import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Exit, Server } from './server-process.ts'

const POLL_MS = 50

type Settings = Readonly<Record<string, string>>

/** Runs one server after the other: when one has died, the next one starts. */
export class Slot {
  readonly #start: (settings: Settings) => Server
  readonly #report: (exit: Exit, server: Server, asked: boolean) => void
  readonly #over = new AbortController()
  readonly #kept: Promise<void>
  #server: Server
  #url: string | null = null
  #asked = false
  #steady = true
  #next: Settings = {}
  #restMs = 0
  #starts = 0

  /** @param report is called with how each server ended, and whether it was asked to stop */
  constructor(
    start: (settings: Settings) => Server,
    report: (exit: Exit, server: Server, asked: boolean) => void,
  ) {
    this.#start = start
    this.#report = report
    this.#server = this.#begin()
    this.#kept = this.#keep()
  }

  /** The address of the server that listens now; null if none listens. */
  get url(): string | null {
    return this.#url
  }

  /** Whether the server listens, and no fault ends it. */
  get steady(): boolean {
    return this.#url !== null && this.#steady
  }

  get starts(): number {
    return this.#starts
  }

  /** Resolves when the server listens, or has failed to start. */
  async listening(): Promise<void> {
    await this.#server.url
  }

  /** The address of a server that reports that it is ready; waits for one. */
  async ready(): Promise<string> {
    for (;;) {
      const url = this.#url
      const ready = url === null ? null : await fetch(`${url}/health/ready`).catch(() => null)
      await ready?.body?.cancel()
      if (url !== null && ready?.ok) return url
      await delay(POLL_MS)
    }
  }

  /** Ends the server as `kill -9` does. The next one starts after `restMs`, with these settings. */
  kill(restMs: number, next: Settings = {}): void {
    this.#restMs = restMs
    this.#next = next
    this.#steady = false
    this.#server.kill('SIGKILL')
  }

  /** Asks the server to stop. */
  terminate(): void {
    this.#asked = true
    this.#steady = false
    this.#server.kill('SIGTERM')
  }

  /** Stops the server, or the process that runs its commands, in the middle of its work, and lets it continue later. */
  async stall(ms: number, what: 'kill' | 'signalRunner' = 'kill'): Promise<void> {
    const server = this.#server
    server[what]('SIGSTOP')
    await delay(ms)
    server[what]('SIGCONT')
  }

  /** Sends a signal to the process that runs the commands of the server, if there is one now. */
  signalRunner(signal: NodeJS.Signals): void {
    this.#server.signalRunner(signal)
  }

  /** Ends the last server for good. */
  async close(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.#over.abort()
    this.#asked = true
    this.#server.kill(signal)
    await this.#kept
  }

  #begin(): Server {
    const server = this.#start(this.#next)
    this.#steady = Object.keys(this.#next).length === 0
    this.#next = {}
    this.#starts += 1
    this.#asked = false
    this.#url = null
    void server.url.then((url) => {
      if (this.#server === server) this.#url = url
    })
    return server
  }

  async #keep(): Promise<void> {
    const { signal } = this.#over
    for (;;) {
      const exit = await this.#server.exit
      this.#url = null
      this.#report(exit, this.#server, this.#asked)
      if (signal.aborted) return
      await Promise.race([delay(this.#restMs), once(signal, 'abort')])
      if (signal.aborted) return
      this.#restMs = 0
      this.#server = this.#begin()
    }
  }
}
