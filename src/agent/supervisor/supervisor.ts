import { folderOfRun, isOpenTo, takesLock } from '../../carry/folder-locks.ts'
import type { RunRecord } from '../../domain/records.ts'
import { keepRunning } from '../../lib/backoff.ts'
import { Semaphore } from '../../lib/semaphore.ts'
import { decode } from '../../log/codec.ts'
import { handleCommand } from '../../log/handle-command.ts'
import { RUN_STREAM_PREFIX, runIdOf } from '../../log/run-log.ts'
import type { Position, RecordedEvent } from '../../store/event-store.ts'
import { abortWith, endWith } from '../subagents/subagents.ts'
import type { From } from './claim.ts'
import { type HeldRun, isAnswer } from './leases.ts'
import { Presence } from './presence.ts'
import { RunWorker, type WorkerDeps } from './worker.ts'

type SupervisorDeps = Omit<WorkerDeps, 'lossOf' | 'queueAfterMs' | 'turns'> & {
  /** Claimants of the processes of this server that were stopped and did not crash. */
  readonly stopped: ReadonlySet<string>
  /** How long a server is silent before others take over its runs; null if only this process uses the store. */
  readonly leaseMs: number | null
}

/** A run that is unfinished at the start. */
type Unfinished = HeldRun & {
  /** The folder that it works in, if it takes its lock. */
  readonly folder?: string | null
  /** The run whose agent started it, if there is one. */
  readonly parent?: string | null
}

/** See `WorkerDeps.queueAfterMs`, if servers share the store. */
const QUEUE_AFTER_MS = 1_000
/** The records whose content the supervisor reads. */
const READ: ReadonlySet<string> = new Set<RunRecord['kind']>([
  'run_created',
  'run_claimed',
  'run_end',
])

/** Follows the log and works on its runs. New runs and those after a crash take one path: claim, fold, next step. */
export class Supervisor {
  readonly #deps: WorkerDeps & SupervisorDeps
  readonly #workers = new Map<string, RunWorker>()
  /** Runs of other pools that are recorded as queued, until something happens to them. */
  readonly #deserted = new Set<string>()
  readonly #presence: Presence | null
  readonly #stop = new AbortController()
  #following: Promise<void> = Promise.resolve()

  constructor(deps: SupervisorDeps) {
    const { leaseMs, maxRunsAtWork } = deps
    this.#deps = {
      ...deps,
      lossOf: (claimant) => this.#lossOf(claimant),
      queueAfterMs: leaseMs === null ? 0 : QUEUE_AFTER_MS,
      turns: new Semaphore(maxRunsAtWork),
    }
    this.#presence = leaseMs === null ? null : this.#presenceFor(leaseMs)
  }

  /** Takes up runs that are unfinished at `after`, in the order of their creation, and that no other server works on. Follows the log from there. */
  start(unfinished: readonly Unfinished[], after: Position | null): void {
    const held: Unfinished[] = []
    for (const { runId, pool, folder = null } of unfinished) {
      if (folder !== null) this.#deps.locks.add({ runId, pool, folder })
    }
    for (const run of unfinished) {
      const { runId, claimant, parent = null } = run
      if (this.#presence === null) this.#takeUp(runId, 'anyone')
      else if (this.#mayTake(run)) this.#takeUp(runId, { claimant })
      else {
        held.push(run)
        // If its parent ended while no server ran, it may wait for a decision that nobody needs any more.
        if (parent !== null) void endWith('parent', parent, runId, this.#untilStop)
      }
    }
    this.#presence?.start(held)
    this.#following = this.#follow(after)
  }

  /** The place of a run among those that wait for their turn here, from 1; null if it is not one. */
  queuePosition(runId: string): number | null {
    const index = this.#deps.turns.waiting.indexOf(runId)
    return index < 0 ? null : index + 1
  }

  get #untilStop() {
    return { ...this.#deps, signal: this.#stop.signal }
  }

  #presenceFor(leaseMs: number): Presence {
    const { store, log, pool, process } = this.#deps
    return new Presence({
      store,
      log,
      leaseMs,
      pool,
      claimant: process.claimant,
      atWork: () => this.#workers.size > 0,
      onOrphaned: ({ runId, claimant }) => {
        if (claimant === null || this.#workers.get(runId)?.takesFrom(claimant)) return
        log.info({ run_id: runId, claimant }, 'the process that works on this run is silent')
        this.#takeUp(runId, { claimant })
      },
      onDeserted: (run) => void this.#queueDeserted(run),
    })
  }

  /** This server may not work on runs of other pools, but it may be the only server that runs. */
  async #queueDeserted({ runId, claimant, pool }: HeldRun): Promise<void> {
    if (this.#deserted.has(runId)) return
    this.#deserted.add(runId)
    const { store, now, newId, log } = this.#deps
    const what =
      claimant === null
        ? `No server of its pool "${pool}" has taken up the run.`
        : `The server that worked on the run is gone, and no other server of its pool "${pool}" has taken it over.`
    const reason = `${what} Start a server with RETRAI_POOL=${pool} on a machine that has the project.`
    const command = { type: 'queue', reason, expected: claimant, overrides: false } as const
    const queued = await handleCommand(store, runId, command, {
      author: { commandId: newId() },
      now,
    })
    if (queued.isOk()) return log.info({ run_id: runId, pool }, 'no server of its pool has the run')
    if (queued.error.type === 'run_ended' || queued.error.type === 'claim_lost') return
    this.#deserted.delete(runId)
    log.warn({ run_id: runId, error: queued.error }, 'a run cannot be recorded as queued')
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

  /** Call this after a redaction of the run: it, and what begins from it, is read again before its next step. */
  forget(runId: string): void {
    for (const worker of this.#workers.values()) worker.forget(runId)
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
    const runId = runIdOf(event.stream)
    const kind = event.type as RunRecord['kind']
    const decoded = READ.has(kind) ? decode(event) : null
    const content = decoded?.isOk() ? decoded.value.record : null
    this.#presence?.note(runId, kind, content)
    if (kind !== 'run_queued') this.#deserted.delete(runId)
    const worker = this.#workers.get(runId)
    if (kind === 'run_end') this.#deps.locks.remove(runId)
    const created = content?.kind === 'run_created' ? { runId, ...content.payload } : null
    if (created && takesLock(created)) this.#deps.locks.add(folderOfRun(created))
    if (kind === 'run_created') {
      // A worker also reports a record that is damaged.
      const pool = content?.kind === 'run_created' ? content.payload.pool : null
      if (isOpenTo(this.#deps.pool, pool ?? null)) this.#takeUp(runId, { claimant: null })
    } else if (kind === 'run_config_changed' || kind === 'user_message') {
      worker?.noticeChange()
    } else if (isAnswer(kind)) {
      worker?.noticeChange()
      this.#takeUp(runId, 'nobody')
    } else if (content?.kind === 'run_claimed') {
      worker?.noticeClaim(content.payload.claimant, event.revision)
    } else if (kind === 'run_end') {
      const end = content?.kind === 'run_end' ? content.payload : null
      // A run that waits for a person has no worker, but its commands may have left something.
      if (worker === undefined) void this.#deps.effects.forgetRun(runId)
      else worker.noticeEnd(end)
      for (const subagent of end?.subagents ?? []) {
        void abortWith('parent', runId, subagent, this.#untilStop)
      }
    }
  }

  #takeUp(runId: string, from: From): void {
    if (this.#stop.signal.aborted) return
    const known = this.#workers.get(runId)
    if (known !== undefined) {
      // The worker may be about to end. Then the run is taken up once more.
      if (known.again === null || from !== 'nobody') known.again = from
      return
    }
    const worker = new RunWorker(runId, from, this.#deps)
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
    if (worker.hasEnded) void this.#deps.effects.forgetRun(runId)
    if (worker.again !== null) this.#takeUp(runId, worker.again)
  }
}
