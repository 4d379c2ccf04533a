import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import * as z from 'zod'
import { OWN_STREAM_PREFIX } from '../domain/own-streams.ts'
import { keepRunning, type PauseBoundsMs, sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { runIdOf } from '../log/run-log.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import { Leases, type LeftBehind } from './leases.ts'

/** Where servers that share a log say that they are there, while their runs say nothing. */
const SERVERS_STREAM = `${OWN_STREAM_PREFIX}servers`
const ALIVE = 'server_alive'
const LEFT = 'server_left'
const Sign = z.strictObject({ claimant: z.string() })

/** So many of the last signs are read at the start, for who has left just before. */
const SIGNS_READ = 256
/** How often in a lease a process says that it is there, and looks who is not. */
const BEATS = 4
/** How long a process that ends tries to say so, milliseconds. */
const FAREWELL_MS = 1_000
const RETRY_MS: PauseBoundsMs = [100, 5_000]

const CANNOT_SAY = 'this server cannot write its heartbeat: other servers may take its runs over'

type PresenceDeps = {
  readonly store: EventStore
  /** This process, as its claims name it. */
  readonly claimant: string
  readonly leaseMs: number
  /** Whether this process works on anything now. */
  readonly atWork: () => boolean
  readonly onLeftBehind: (runs: readonly LeftBehind[]) => void
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Milliseconds of a clock that only goes forward. */
  readonly clock?: () => number
}

/**
 * Tells other servers on the same log that this one is alive, and finds out which of them are not. It
 * decides only who tries: which of several claims holds is decided by the log.
 */
export class Presence {
  readonly #deps: PresenceDeps
  readonly #leases: Leases
  readonly #clock: () => number
  readonly #stop = new AbortController()
  #work: Promise<unknown> = Promise.resolve()
  /** Whether the last heartbeat was not stored. */
  #failing = false

  constructor(deps: PresenceDeps) {
    this.#deps = deps
    this.#leases = new Leases(deps.leaseMs)
    this.#clock = deps.clock ?? (() => performance.now())
  }

  /** Runs that others hold as of the start, and from then on all that `note` is shown. */
  start(held: readonly (LeftBehind & { readonly resting: boolean })[]): void {
    const now = this.#clock()
    for (const { runId, claimant, resting } of held) {
      this.#leases.hold(runId, claimant, resting, now)
    }
    const { log } = this.#deps
    const keep = (loop: () => Promise<void>, message: string) =>
      keepRunning(loop, {
        signal: this.#stop.signal,
        retryMs: RETRY_MS,
        onFailure: (err) => log.warn({ err }, message),
      })
    this.#work = Promise.all([
      keep(
        () => this.#listen(),
        'the heartbeats of other servers cannot be followed, trying again',
      ),
      keep(() => this.#watch(), 'the run leases cannot be watched, trying again'),
    ])
  }

  note(event: RecordedEvent): void {
    this.#leases.note(event, this.#clock())
    // The claim may be told of only after its process has left.
    if (event.type === 'run_claimed') this.#tell(this.#leases.leftBefore(runIdOf(event.stream)))
  }

  /** Whether it has said that it is gone, so it did not crash. */
  hasLeft(claimant: string): boolean {
    return this.#leases.hasLeft(claimant)
  }

  /** Says that this process is gone, so that nobody has to wait for the end of its lease. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#work
    await Promise.race([this.#say(LEFT), delay(FAREWELL_MS, undefined, { ref: false })])
  }

  async #listen(): Promise<void> {
    const { store } = this.#deps
    const { signal } = this.#stop
    const last = await store.readStream(SERVERS_STREAM, {
      from: 'end',
      direction: 'backward',
      limit: SIGNS_READ,
    })
    const signs = last.unwrapOr([])
    for (const event of signs) if (event.type === LEFT) this.#hear(event)
    const after = signs[0]?.revision ?? -1
    for await (const item of store.subscribeStream(SERVERS_STREAM, { after, signal })) {
      if (item.type === 'events') for (const event of item.events) this.#hear(event)
    }
  }

  #hear({ type, data }: RecordedEvent): void {
    const sign = Sign.safeParse(parsedJson(data))
    if (!sign.success) return
    if (type === ALIVE) this.#leases.heard(sign.data.claimant, this.#clock())
    if (type === LEFT) this.#tell(this.#leases.left(sign.data.claimant))
  }

  async #watch(): Promise<void> {
    const { claimant, leaseMs, atWork } = this.#deps
    const pause = leaseMs / BEATS
    for (let before = this.#clock(); await sleep(pause, this.#stop.signal); ) {
      const now = this.#clock()
      // A process that was stopped itself, or that has no store, has heard of nobody meanwhile.
      const deaf = now - before > leaseMs / 2 || (await this.#deps.store.ping()).isErr()
      before = now
      if (deaf) {
        this.#leases.renewAll(this.#clock())
        continue
      }
      if (atWork() && !this.#leases.isFresh(claimant, pause, now)) await this.#say(ALIVE)
      this.#tell(this.#leases.expired(claimant, this.#clock()))
    }
  }

  #tell(leftBehind: readonly LeftBehind[]): void {
    if (leftBehind.length > 0) this.#deps.onLeftBehind(leftBehind)
  }

  /** A heartbeat that is not stored renews no lease: the next beat writes it. */
  async #say(type: string): Promise<void> {
    const { store, claimant, log } = this.#deps
    const data: z.infer<typeof Sign> = { claimant }
    const event = { id: randomUUID(), type, data: JSON.stringify(data), metadata: '{}' }
    const said = await store.append(SERVERS_STREAM, [event], { expectedRevision: 'any' })
    if (said.isErr()) {
      if (!this.#failing) log.warn({ error: said.error }, CANNOT_SAY)
    } else if (type === ALIVE) {
      this.#leases.heard(claimant, this.#clock())
      if (this.#failing) log.info({}, 'the heartbeat of this server is written again')
    }
    this.#failing = said.isErr()
  }
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
