import type { Kind } from '../domain/records.ts'
import { keepRunning } from '../lib/backoff.ts'
import { decode } from '../log/codec.ts'
import { RUN_STREAM_PREFIX, runIdOf } from '../log/run-log.ts'
import type { Position, RecordedEvent } from '../store/event-store.ts'
import { ForeignRuns, isOpenTo } from './foreign-runs.ts'
import type { OrphanedRun } from './leases.ts'
import { abortWithParent, endingWith, endWithParent } from './parents.ts'
import { Presence } from './presence.ts'
import { type From, RunWorker, type WorkerDeps } from './run-worker.ts'
import { Turns } from './turns.ts'

export type SupervisorDeps = Omit<WorkerDeps, 'lossOf' | 'queueAfterMs'> & {
  /** Claimants of the processes of this server that were stopped and did not crash. */
  readonly stopped: ReadonlySet<string>
  /** How long a server is silent before others take over its runs; null if only this process uses the store. */
  readonly leaseMs: number | null
  /** How many runs may be worked on at once. More runs wait in order. */
  readonly maxRunsAtWork: number
}

/** A run that is unfinished at the start. */
type Unfinished = {
  readonly runId: string
  readonly claimant: string | null
  readonly pool: string | null
  /** Whether it waits for a person. */
  readonly resting: boolean
  /** The run whose agent started it, if there is one. */
  readonly parent?: string | null
}

/** See `WorkerDeps.queueAfterMs`, if servers share the store. */
const QUEUE_AFTER_MS = 1_000

/** Follows the log and works on its runs. New runs and those after a crash take one path: claim, fold, next step. */
export class Supervisor {
  readonly #deps: SupervisorDeps & WorkerDeps
  readonly #workers = new Map<string, RunWorker>()
  /** Ended runs whose folders are being removed. */
  readonly #forgetting = new Set<string>()
  readonly #turns: Turns
  readonly #presence: Presence | null
  readonly #foreign: ForeignRuns
  readonly #stop = new AbortController()
  #following: Promise<void> = Promise.resolve()

  constructor(deps: SupervisorDeps) {
    const { leaseMs } = deps
    const lossOf = (claimant: string) => this.#lossOf(claimant)
    this.#deps = { ...deps, lossOf, queueAfterMs: leaseMs === null ? 0 : QUEUE_AFTER_MS }
    this.#turns = new Turns(deps.maxRunsAtWork)
    this.#presence = leaseMs === null ? null : this.#presenceFor(leaseMs)
    const clock = () => performance.now()
    this.#foreign = new ForeignRuns({ ...deps, clock, graceMs: leaseMs ?? 0 })
  }

  /** Takes up runs that are unfinished at `after` and that no other server works on. Follows the log from there. */
  start(unfinished: readonly Unfinished[], after: Position | null): void {
    const held: Unfinished[] = []
    for (const run of unfinished) {
      const { runId, claimant } = run
      if (this.#presence === null) this.#takeUp(runId, 'anyone')
      else if (!this.#mayTake(run)) {
        held.push(run)
        void this.#endWithParent(run)
      } else this.#takeUp(runId, { claimant })
    }
    this.#presence?.start(held)
    this.#following = this.#follow(after)
  }

  /** If its parent ended while no server ran, the run may wait for a decision that nobody needs any more. */
  async #endWithParent({ runId, parent = null }: Unfinished): Promise<void> {
    if (parent === null) return
    const ended = await endWithParent(runId, parent, { ...this.#deps, signal: this.#stop.signal })
    if (ended.isOk()) return
    const facts = { run_id: runId, parent, error: ended.error }
    this.#deps.log.warn(facts, 'whether the parent of a run has ended cannot be read')
  }

  #presenceFor(leaseMs: number): Presence {
    const { store, log } = this.#deps
    return new Presence({
      store,
      log,
      leaseMs,
      claimant: this.#deps.process.claimant,
      atWork: () => this.#workers.size > 0,
      onOrphanedRuns: (runs) => {
        for (const run of runs) this.#orphaned(run)
      },
    })
  }

  #orphaned({ runId, claimant, pool }: OrphanedRun): void {
    if (pool !== null && !isOpenTo(this.#deps.pool, pool)) {
      void this.#foreign.abandoned({ runId, claimant, pool })
      return
    }
    // A run that nobody has claimed was taken up when it was created.
    if (claimant === null || this.#workers.get(runId)?.takesFrom(claimant)) return
    this.#deps.log.info({ run_id: runId, claimant }, 'the process that works on this run is silent')
    this.#takeUp(runId, { claimant })
  }

  /** Whether no other server can be at work on a run that is unfinished at the start. */
  #mayTake({ claimant, pool }: Unfinished): boolean {
    if (!isOpenTo(this.#deps.pool, pool)) return false
    return claimant === null || this.#isOfThisServer(claimant)
  }

  /** Why a process that held a run does not work on it any more; undefined if it was stopped, or nobody knows. */
  #lossOf(claimant: string): 'crash' | 'lease_expired' | undefined {
    if (this.#deps.stopped.has(claimant) || this.#presence?.hasLeft(claimant)) return undefined
    if (this.#isOfThisServer(claimant)) return 'crash'
    return this.#presence === null ? undefined : 'lease_expired'
  }

  /** The process that held it cannot be alive: this one has the server's data folder. */
  #isOfThisServer(claimant: string): boolean {
    return claimant.startsWith(`${this.#deps.process.server}/`)
  }

  /** Stops the work on all runs. Nothing is recorded, so the next process continues where this one was. */
  async stop(): Promise<void> {
    this.#stop.abort()
    for (const worker of this.#workers.values()) worker.stop()
    await Promise.allSettled([
      this.#following,
      ...[...this.#workers.values()].map(({ done }) => done),
    ])
    await this.#presence?.stop()
  }

  /** Call this after a redaction of the run: it is read again before its next step. */
  forget(runId: string): void {
    this.#workers.get(runId)?.forget()
  }

  async #follow(after: Position | null): Promise<void> {
    const { store, log, retryMs } = this.#deps
    const { signal } = this.#stop
    let seen = after
    const follow = async (): Promise<void> => {
      const options = { after: seen, prefix: RUN_STREAM_PREFIX, signal }
      for await (const item of store.subscribeAll(options)) {
        if (item.type !== 'events') continue
        for (const event of item.events) this.#notice(event)
        seen = item.events.at(-1)?.position ?? seen
      }
    }
    const onFailure = (err: unknown) => log.error({ err }, 'the log cannot be followed: retrying')
    await keepRunning(follow, { signal, retryMs, onFailure })
  }

  #notice(event: RecordedEvent): void {
    this.#presence?.note(event)
    this.#foreign.note(event)
    const runId = runIdOf(event.stream)
    switch (event.type as Kind) {
      case 'run_created':
        if (this.#isOfPool(event)) this.#takeUp(runId, { claimant: null })
        break
      case 'run_config_changed':
      case 'user_message':
        this.#workers.get(runId)?.noticeChange()
        break
      case 'human_check_response':
      case 'approval_response':
        this.#workers.get(runId)?.noticeChange()
        this.#takeUp(runId, 'nobody')
        break
      case 'run_claimed':
        this.#workers.get(runId)?.noticeClaim(event)
        break
      case 'run_end':
        this.#noticeEnd(runId, event)
        for (const subagent of endingWith(event))
          void abortWithParent(subagent, runId, { ...this.#deps, signal: this.#stop.signal })
        break
    }
  }

  /** A run that waits for a person has no worker, but its commands may have left something. */
  #noticeEnd(runId: string, event: RecordedEvent): void {
    const worker = this.#workers.get(runId)
    if (worker === undefined) void this.#forget(runId)
    else worker.noticeEnd(event)
  }

  /** The record of an end may come while this is under way. Two removals of one folder would fail each other. */
  async #forget(runId: string): Promise<void> {
    if (this.#forgetting.has(runId)) return
    this.#forgetting.add(runId)
    await this.#deps.effects.forgetRun?.(runId)
    this.#forgetting.delete(runId)
  }

  /** Whether a new run is for this server. */
  #isOfPool(created: RecordedEvent): boolean {
    const { pool } = this.#deps
    const decoded = pool === null ? null : decode(created)
    if (decoded === null || decoded.isErr()) return true
    const { record } = decoded.value
    return record.kind !== 'run_created' || isOpenTo(pool, record.payload.pool ?? null)
  }

  #takeUp(runId: string, from: From): void {
    if (this.#stop.signal.aborted) return
    const known = this.#workers.get(runId)
    if (known !== undefined) {
      // The worker may be about to end. Then the run is taken up once more.
      if (known.again === null || from !== 'nobody') known.again = from
      return
    }
    const worker = new RunWorker(runId, from, this.#turns, this.#deps)
    this.#workers.set(runId, worker)
    void this.#whenDone(runId, worker)
  }

  async #whenDone(runId: string, worker: RunWorker): Promise<void> {
    try {
      await worker.done
    } catch (err) {
      this.#deps.log.error({ run_id: runId, err }, 'the work on a run failed')
    }
    this.#workers.delete(runId)
    if (worker.hasEnded) void this.#forget(runId)
    if (worker.again !== null) this.#takeUp(runId, worker.again)
  }
}
