import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import * as z from 'zod'
import type { RunRecord } from '../../domain/records.ts'
import { keepRunning, type PauseBoundsMs, sleep } from '../../lib/backoff.ts'
import { jsonOr } from '../../lib/json.ts'
import type { Logger } from '../../lib/logger.ts'
import { SERVERS_STREAM } from '../../log/log-identity.ts'
import type { EventStore, RecordedEvent } from '../../store/event-store.ts'
import { type HeldRun, Leases } from './leases.ts'

const ALIVE = 'server_alive'
const LEFT = 'server_left'
const Sign = z.strictObject({ claimant: z.string() })

/** How many of the last signs are read at the start, to learn which processes have just left. */
const SIGNS_READ = 256
/** How many of the last signs the store keeps. */
const SIGNS_KEPT = 4 * SIGNS_READ
/** How many times per lease a process writes a heartbeat and looks for orphaned runs. */
const BEATS = 4
/** How long a process that stops tries to announce it. */
const FAREWELL_MS = 1_000
const RETRY_MS: PauseBoundsMs = [100, 5_000]

const CANNOT_LIMIT = `the store cannot be made to drop old heartbeats of servers: set $maxCount of the stream ${SERVERS_STREAM} to ${SIGNS_KEPT}`
const CANNOT_BEAT = 'this server cannot write its heartbeat: other servers may take over its runs'

type PresenceDeps = {
  readonly store: EventStore
  /** This process, as its claims name it. */
  readonly claimant: string
  readonly leaseMs: number
  /** That of this server; null if it may work on all runs. */
  readonly pool: string | null
  /** Whether this process works on anything now. */
  readonly atWork: () => boolean
  readonly onOrphaned: (run: HeldRun) => void
  /** Called with a run of another pool that no server of its pool has taken up: repeatedly, while that is so. */
  readonly onDeserted: (run: HeldRun) => void
  readonly log: Pick<Logger, 'info' | 'warn'>
}

/** Milliseconds of a monotonic clock. */
const clock = (): number => performance.now()

/**
 * Shows other servers on the same log that this one is alive, and finds the ones that are not. It decides only which
 * process tries to claim a run: the log decides which claim wins.
 */
export class Presence {
  readonly #deps: PresenceDeps
  readonly #leases: Leases
  readonly #stop = new AbortController()
  #work: Promise<unknown> = Promise.resolve()
  /** Whether the last heartbeat could not be stored. */
  #failing = false

  constructor(deps: PresenceDeps) {
    this.#deps = deps
    this.#leases = new Leases(deps.leaseMs, deps.pool)
  }

  /** Starts with the runs that this process does not take up at once. From then on, `note` gets every record. */
  start(held: readonly HeldRun[]): void {
    const now = clock()
    for (const run of held) this.#leases.hold(run, now)
    const { log } = this.#deps
    const keep = (loop: () => Promise<void>, message: string) =>
      keepRunning(loop, {
        signal: this.#stop.signal,
        retryMs: RETRY_MS,
        onFailure: (err) => log.warn({ err }, message),
      })
    this.#work = Promise.all([
      this.#limitSigns(),
      keep(() => this.#listen(), 'the heartbeats of other servers cannot be followed: retrying'),
      keep(() => this.#watch(), 'the run leases cannot be watched: retrying'),
    ])
  }

  /** See `Leases.note`. */
  note(runId: string, kind: string, content: RunRecord | null): void {
    this.#leases.note(runId, kind, content, clock())
    // The claim may arrive only after its process has left.
    if (kind === 'run_claimed') this.#report(this.#leases.abandoned())
  }

  /** Whether it announced its end, which means that it did not crash. */
  hasLeft(claimant: string): boolean {
    return this.#leases.hasLeft(claimant)
  }

  /** Announces that this process leaves, so that no process waits for the end of its leases. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#work
    await Promise.race([this.#announce(LEFT), delay(FAREWELL_MS, undefined, { ref: false })])
  }

  /** Nobody reads old signs. */
  async #limitSigns(): Promise<void> {
    const limited = await this.#deps.store.keepLatest?.(SERVERS_STREAM, SIGNS_KEPT)
    if (limited?.isErr()) this.#deps.log.warn({ error: limited.error }, CANNOT_LIMIT)
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
    const sign = Sign.safeParse(jsonOr(data, null))
    if (!sign.success) return
    if (type === ALIVE) this.#leases.heard(sign.data.claimant, clock())
    if (type !== LEFT) return
    this.#leases.left(sign.data.claimant)
    this.#report(this.#leases.abandoned())
  }

  async #watch(): Promise<void> {
    const { claimant, leaseMs, atWork } = this.#deps
    const pause = leaseMs / BEATS
    for (let before = clock(); await sleep(pause, this.#stop.signal); ) {
      const now = clock()
      // A process that was suspended, or that had no store, has heard from no other process meanwhile.
      const deaf = now - before > leaseMs / 2 || (await this.#deps.store.ping()).isErr()
      before = now
      if (deaf) {
        this.#leases.renewAll(clock())
        continue
      }
      if (atWork() && !this.#leases.isFresh(claimant, pause, now)) await this.#announce(ALIVE)
      this.#report(this.#leases.orphaned(claimant, clock()))
      for (const run of this.#leases.deserted(clock())) this.#deps.onDeserted(run)
    }
  }

  #report(orphaned: readonly HeldRun[]): void {
    for (const run of orphaned) this.#deps.onOrphaned(run)
  }

  /** A heartbeat that is not stored renews no lease. The next beat tries again. */
  async #announce(type: string): Promise<void> {
    const { store, claimant, log } = this.#deps
    const data: z.infer<typeof Sign> = { claimant }
    const event = { id: randomUUID(), type, data: JSON.stringify(data), metadata: '{}' }
    const appended = await store.append(SERVERS_STREAM, [event], { expectedRevision: 'any' })
    if (appended.isErr()) {
      if (!this.#failing) log.warn({ error: appended.error }, CANNOT_BEAT)
    } else if (type === ALIVE) {
      this.#leases.heard(claimant, clock())
      if (this.#failing) log.info({}, 'the heartbeat of this server is written again')
    }
    this.#failing = appended.isErr()
  }
}
